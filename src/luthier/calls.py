"""Whether function calls are the right ones, by the rules of the Berkeley function-calling leaderboard.

What is right is a list of {name: {argument: [values that are right]}}; "" among the values: the argument may be left out.
Enters: calls, what is right, the functions' schemas. Leaves: why the calls are wrong. Never: runs a call, reads a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.types import ToolCall

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip

Truth = Mapping[str, Mapping[str, Sequence[Any]]]
"""One call that is wanted: {name: {argument: values that are right}}."""


def why_wrong(calls: Sequence[ToolCall], truth: Sequence[Truth], tools: Sequence[Mapping[str, Any]] = ()) -> str | None:
    """What is wrong with calls; None where nothing is. Several calls may come in any order.

    tools: {"name", "parameters"} of the functions; the arguments of one that is not among them are held to no schema.
    """
    wanted = [(name, choices) for each in truth for name, choices in each.items()]
    if len(calls) != len(wanted):
        return f"{len(calls)} calls instead of {len(wanted)}"
    schemas = {tool["name"]: tool.get("parameters") for tool in tools}
    reasons = [[_why_not(call, name, choices, schemas.get(name)) for call in calls] for name, choices in wanted]
    taken: dict[int, int] = {}  # call -> what it answers
    for number, (name, _) in enumerate(wanted):
        if not _take(number, reasons, taken, set()):
            same = [reason for reason, call in zip(reasons[number], calls) if call.name == name and reason]
            return same[0] if same else f"{name} is not called once more, but {', '.join(call.name for call in calls)}"
    return None


def _take(number: int, reasons: Sequence[Sequence[str | None]], taken: dict[int, int], tried: set[int]) -> bool:
    """Whether what is wanted as `number` finds a call of its own, others moving to another where they can (Kuhn 1955)."""
    for call, reason in enumerate(reasons[number]):
        if reason is None and call not in tried:
            tried.add(call)
            if call not in taken or _take(taken[call], reasons, taken, tried):
                taken[call] = number
                return True
    return False


def truth_of(calls: Sequence[ToolCall]) -> list[Truth]:
    """What is right where nothing but these calls is."""
    return [{call.name: {key: [_only(value)] for key, value in call.arguments.items()}} for call in calls]


def _only(value: Any) -> Any:
    """A value as a choice without alternatives: an object's keys have choices of their own."""
    if isinstance(value, Mapping):
        return {key: [_only(each)] for key, each in value.items()}
    return [_only(each) for each in value] if isinstance(value, list) else value


def _why_not(
    call: ToolCall, name: str, choices: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any] | None
) -> str | None:
    if call.name != name:
        return f"{call.name} instead of {name}"
    for key in (parameters or {}).get("required", []):
        if key not in call.arguments:
            return f"{name}: {key} is missing"
    properties = choices if parameters is None else parameters.get("properties", {})
    for key, value in call.arguments.items():
        if key not in choices or key not in properties:
            return f"{name}: {key} is not wanted"
        if any(type(choice) is type(value) and choice == value for choice in choices[key]):
            continue  # also where the function's own types say otherwise, as some of the leaderboard's do
        if parameters is not None and not _is_of(value, properties[key]):
            return f"{name}: {key} is no {properties[key].get('type')}"
        if not any(_is_right(value, choice) for choice in choices[key]):
            return f"{name}: {key} is {json.dumps(value, ensure_ascii=False)}"
    missing = next((key for key, right in choices.items() if key not in call.arguments and "" not in right), None)
    return f"{name}: {missing} is missing" if missing else None


def _is_of(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether value has the type of schema; a whole number is a number too, true is neither."""
    named = schema.get("type")
    kinds = TYPES.get(named, (object,)) if isinstance(named, str) else (object,)
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    if not isinstance(value, kinds):
        return False
    return not isinstance(value, list) or all(_is_of(item, schema.get("items", {})) for item in value)


def _is_right(value: Any, choice: Any) -> bool:
    """Whether value is the choice: texts without regard to case, blanks and punctuation; objects key by key, each with choices
    of its own."""
    if isinstance(value, str) and isinstance(choice, str):
        return _bare(value) == _bare(choice)
    if isinstance(value, list) and isinstance(choice, list):
        return len(value) == len(choice) and all(map(_is_right, value, choice))
    if isinstance(value, dict) and isinstance(choice, dict):
        if not value.keys() <= choice.keys():
            return False
        return all(_is_among(value[key], right) if key in value else "" in right for key, right in choice.items())
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


def _is_among(value: Any, choices: Any) -> bool:
    return any(_is_right(value, choice) for choice in (choices if isinstance(choices, list) else [choices]))


def _bare(text: str) -> str:
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')
