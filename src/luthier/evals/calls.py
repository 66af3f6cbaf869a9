"""Function calls held against what is right, by the rules of the Berkeley function-calling leaderboard.

    task_dir/bfcl/BFCL_v4_parallel.jsonl      {"id", "question": [[messages]], "function": [tools], "ground_truth": [...]}
    task_dir/bfcl/possible_answer/BFCL_v4_parallel.jsonl    its ground_truth by id, where it is not in the row

ground_truth is a list of {name: {argument: [values that are right]}}; "" among the values: the argument may be left out.
Enters: a folder. Leaves: tasks, and why a set of calls is wrong. Never: runs a call, asks the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.types import Conversation, Message, ToolCall

KINDS = {"dict": "object", "float": "number", "tuple": "array", "any": "string", "double": "number", "bool": "boolean"}
"""The leaderboard's words for types that JSON schema calls otherwise."""

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip

Truth = Mapping[str, Mapping[str, Sequence[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTask:
    """truth: the calls that are wanted, each {name: {argument: values that are right}}, in any order."""

    id: str
    conversation: Conversation
    truth: Sequence[Truth]


def read_tasks(folder: Path) -> dict[str, list[CallTask]]:
    """Category (simple_python, parallel ...) -> its tasks. Raises DataError where there are none, or a row is not whole."""
    found = {}
    for file in sorted([*folder.glob("*.jsonl"), *folder.glob("*.json")]):
        answers = folder / "possible_answer" / file.name
        truths = {row["id"]: row.get("ground_truth") for row in _rows(answers)} if answers.is_file() else {}
        category = re.sub(r"^BFCL_v\d+_", "", file.stem)
        found[category] = [_task(row, truths, f"{file} row {number}") for number, row in enumerate(_rows(file), start=1)]
    if not found:
        raise DataError(f"{folder} holds no tasks.", "Expected: BFCL_v4_simple_python.jsonl and the like.")
    return found


def why_wrong(calls: Sequence[ToolCall], task: CallTask) -> str | None:
    """What is wrong with calls; None where nothing is. Several calls may come in any order."""
    if len(calls) != len(task.truth):
        return f"{len(calls)} calls instead of {len(task.truth)}"
    tools = {tool["name"]: tool for tool in task.conversation.tools}
    wanted = [(name, choices) for truth in task.truth for name, choices in truth.items()]
    reasons = [[_why_not(call, name, choices, tools[name]["parameters"]) for call in calls] for name, choices in wanted]
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


def _why_not(call: ToolCall, name: str, choices: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]) -> str | None:
    if call.name != name:
        return f"{call.name} instead of {name}"
    properties = parameters.get("properties", {})
    for key in parameters.get("required", []):
        if key not in call.arguments:
            return f"{name}: {key} is missing"
    for key, value in call.arguments.items():
        if key not in choices or key not in properties:
            return f"{name}: {key} is not wanted"
        if any(type(choice) is type(value) and choice == value for choice in choices[key]):
            continue  # also where the function's own types say otherwise, as some of the leaderboard's do
        if not _is_of(value, properties[key]):
            return f"{name}: {key} is no {properties[key].get('type')}"
        if not any(_is_right(value, choice) for choice in choices[key]):
            return f"{name}: {key} is {json.dumps(value, ensure_ascii=False)}"
    missing = next((key for key, right in choices.items() if key not in call.arguments and "" not in right), None)
    return f"{name}: {missing} is missing" if missing else None


def _is_of(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether value has the type of schema; a whole number is a number too, true is neither."""
    kinds = TYPES.get(schema.get("type", ""), (object,))
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


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}", "Every line is one task.") from error


def _task(row: Any, truths: Mapping[str, Any], where: str) -> CallTask:
    truth = row.get("ground_truth", truths.get(row.get("id"))) if isinstance(row, dict) else None
    if not truth or not row.get("question") or not row.get("function"):
        raise DataError(f"{where} lacks its question, function or ground_truth.", "ground_truth may lie in possible_answer/.")
    turns = row["question"][0] if isinstance(row["question"][0], list) else row["question"]
    tools = tuple({**tool, "parameters": _schema(tool.get("parameters", {}))} for tool in row["function"])
    unknown = {name for each in truth for name in each} - {tool["name"] for tool in tools}
    if unknown or any(len(each) != 1 for each in truth):
        raise DataError(f"{where}: ground_truth is not one {{name: arguments}} a call of its functions.", str(truth)[:200])
    messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)
    return CallTask(id=row.get("id", where), conversation=Conversation(messages=messages, tools=tools), truth=truth)


def _schema(schema: Any) -> Any:
    """The same with the types' names in JSON schema."""
    if isinstance(schema, list):
        return [_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: KINDS.get(value, value) if key == "type" and isinstance(value, str) else _schema(value)
        for key, value in schema.items()
    }
