"""Helpers that the message formats share: thinking, tool calls, tool lists, weights, the order of turns.

Each takes a raw value and gives a typed one, or raises a DataError that names the row and the remedy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from luthier.errors import DataError
from luthier.types import Message, Origin, ToolCall

_THINKING = re.compile(r"\s*<think>(.*?)</think>\n*", re.DOTALL)
_TAGGED_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
SHOWN_CHARS = 80


def bad_row(origin: Origin, problem: str, remedy: str | None = None) -> DataError:
    return DataError(f"{origin} {problem}.", remedy)


def kind_of(value: Any) -> str:
    """A raw value in words, for messages."""
    if isinstance(value, str):
        return f'"{shorten(value)}"' if value else "empty"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    return {None: "null", True: "true", False: "false"}.get(value, f"the number {value}") if _plain(value) else str(type(value))


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def text_of(value: Any, key: str, origin: Origin) -> str:
    """value itself if it is text; null is empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise bad_row(origin, f'has {kind_of(value)} in "{key}" where text is needed', "Write it as text, in quotes.")


def split_thinking(text: str) -> tuple[str | None, str]:
    """'<think>why</think>words' -> ("why", "words"); thinking is None without such a block, "" with an empty one."""
    match = _THINKING.match(text) if "<think>" in text else None
    if match is None:
        return None, text
    return match[1].strip("\n") if match[1].strip() else "", text[match.end() :]


def parse_calls(value: Any, key: str, origin: Origin) -> tuple[str, tuple[ToolCall, ...]]:
    """The words before the calls, and the calls. value: an object, a list of them, or text that holds either as JSON.

    Text may stand before the JSON, and the JSON may stand in <tool_call> tags, one call in each.
    """
    if not isinstance(value, str):
        return "", calls_of(value, key, origin)
    tagged = _TAGGED_CALL.findall(value)
    if tagged:
        return value[: value.index("<tool_call>")].strip(), calls_of([_json(text, key, origin) for text in tagged], key, origin)
    text = value.strip()
    if text[:1] in ("{", "["):
        return "", calls_of(_json(text, key, origin), key, origin)
    for match in re.finditer(r"[\[{]", text):  # words first: the JSON is the rest of the text
        try:
            calls = orjson.loads(text[match.start() :])
        except orjson.JSONDecodeError:
            continue
        return text[: match.start()].rstrip(), calls_of(calls, key, origin)
    raise bad_row(origin, f'has no JSON function call in "{key}": {kind_of(value)}', CALL_REMEDY)


CALL_REMEDY = 'A call is {"name": ..., "arguments": {...}}; several calls are a list of these.'


def calls_of(value: Any, key: str, origin: Origin) -> tuple[ToolCall, ...]:
    """Calls from parsed JSON: {"name", "arguments"} or OpenAI's {"id", "type", "function": {...}}, one or a list."""
    calls = value if isinstance(value, (list, tuple)) else [value]
    if not calls:
        raise bad_row(origin, f'has an empty list of calls in "{key}"', CALL_REMEDY)
    return tuple(_call(call, key, origin) for call in calls)


def _call(call: Any, key: str, origin: Origin) -> ToolCall:
    if not isinstance(call, Mapping):
        raise bad_row(origin, f'has {kind_of(call)} in "{key}" where a function call is needed', CALL_REMEDY)
    function = call.get("function") if isinstance(call.get("function"), Mapping) else call
    name, arguments = function.get("name"), function.get("arguments", function.get("parameters"))
    if not isinstance(name, str) or not name:
        raise bad_row(origin, f'has a call without a function name in "{key}"', CALL_REMEDY)
    if isinstance(arguments, str):
        arguments = _json(arguments, f"arguments of {name}", origin) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise bad_row(origin, f'has {kind_of(arguments)} as arguments of the call "{name}"', "Arguments are an object.")
    identity = call.get("id")
    return ToolCall(name=name, arguments=arguments, id=identity if isinstance(identity, str) else None)


def calls_as_text(calls: Iterable[ToolCall]) -> str:
    """The calls as JSON, one object or a list: how sharegpt rows write them."""
    plain = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    return json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False)


def parse_tools(value: Any, key: str, origin: Origin) -> tuple[Mapping[str, Any], ...]:
    """The tools column: JSON text or a list, functions bare or in OpenAI's {"type": "function", "function": {...}}."""
    if isinstance(value, str):
        value = _json(value, key, origin) if value.strip() else None
    if value is None:
        return ()
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, (list, tuple)):
        raise bad_row(origin, f'has {kind_of(value)} in "{key}" where a list of functions is needed', TOOLS_REMEDY)
    return tuple(_tool(tool, key, origin) for tool in tools)


TOOLS_REMEDY = 'A tool is {"name": ..., "description": ..., "parameters": {...}}; write a list of these.'


def _tool(tool: Any, key: str, origin: Origin) -> Mapping[str, Any]:
    if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping):
        tool = tool["function"]
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str) or not tool["name"]:
        raise bad_row(origin, f'has a tool without a name in "{key}": {kind_of(tool)}', TOOLS_REMEDY)
    return tool


def _json(text: str, key: str, origin: Origin) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_row(
            origin, f'has broken JSON in "{key}": {error.msg} (character {error.pos})', f"It reads {kind_of(text)}"
        ) from None


def parse_weight(message: Mapping[str, Any], role: str, origin: Origin) -> float | None:
    """Message.weight from "train" (true or false) or "weight" (a number, 0 or more); None when neither is there."""
    train, weight = message.get("train"), message.get("weight", message.get("loss_weight"))
    if train is None and weight is None:
        return None
    if train is not None and not isinstance(train, bool):
        raise bad_row(origin, f'has {kind_of(train)} in "train"', "Write true or false.")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float))):
        raise bad_row(origin, f'has {kind_of(weight)} in "weight"', "Write a number, 0 or more.")
    if weight is not None and not (math.isfinite(weight) and weight >= 0):
        raise bad_row(origin, f'has {weight} in "weight"', "Write a number, 0 or more.")
    result = 0.0 if train is False else float(1 if weight is None else weight)
    if role == "assistant":
        return result
    if result:
        raise bad_row(origin, f"asks to learn a {role} turn", "Only assistant turns are learned; take the key away there.")
    return None


def check_order(messages: list[Message], origin: Origin) -> None:
    """system? user (assistant (user | tool+))* assistant?, as every chat template expects it."""
    if not any(message.role != "system" for message in messages):
        raise bad_row(origin, "has no messages", "Add a user turn and its answer, or delete the row.")
    before = "start"
    for number, message in enumerate(messages, start=1):
        if message.role not in _MAY_FOLLOW[before]:
            what = "starts with" if before == "start" else f"has after {_A[before]} turn"
            allowed = " or ".join(_A[role] for role in _MAY_FOLLOW[before])
            raise bad_row(
                origin,
                f"{what} {_A[message.role]} turn (message {number}) where {allowed} turn must stand",
                "User and assistant turns alternate; mend the row, or set on_bad_row: skip to leave such rows out.",
            )
        before = message.role


_A = {"system": "a system", "user": "a user", "assistant": "an assistant", "tool": "a tool result"}
_MAY_FOLLOW = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
