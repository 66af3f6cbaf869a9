"""The contract of a tool format: how a model family is told of tools, writes its calls, and is read back.

In: tool descriptions and calls. Out: text, and from generated text the calls again: read(write(calls)) == calls.
Never decides which words are control tokens: that is the template's and its guard's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import yaml

from luthier.types import ToolCall

Tools = Sequence[Mapping[str, Any]]


class ToolFormat(Protocol):
    """name: the key of the table.  marked: calls stand between words of their own, so prose cannot be mistaken for one.
    joint: what stands between the words of an answer and its calls.  words: what may be a control token of the tokenizer."""

    name: str
    marked: bool
    joint: str
    words: tuple[str, ...]

    def describe(self, tools: Tools) -> str:
        """What the system message says about the tools (function descriptions without a wrapper)."""
        ...

    def write(self, calls: Sequence[ToolCall]) -> str:
        """The calls as the assistant writes them. Raises TemplateError where the family cannot write these."""
        ...

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        """Words and calls of a generated answer; the whole text and no calls where it holds none that can be read.

        tools: their schemas tell text from numbers where the format writes both alike.
        """
        ...


@cache
def prompt(name: str) -> str:
    """The fixed words around the tool descriptions of a format; {tools} marks their place."""
    return yaml.safe_load(files("luthier.templates.tools").joinpath("prompts.yaml").read_text(encoding="utf-8"))[name]


def to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def wrapped(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function description as OpenAI writes it."""
    return {"type": "function", "function": dict(tool)}


def bare(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description without OpenAI's wrapper."""
    return tool["function"] if tool.get("type") == "function" and isinstance(tool.get("function"), Mapping) else tool


def from_json(text: str) -> Any:
    """The JSON value, or None (which is no call in any format)."""
    try:
        return json.loads(text.strip())
    except json.JSONDecodeError:
        return None


def call_of(value: Any, arguments: str = "arguments") -> ToolCall | None:
    """{"name": ..., "arguments": {...}} as a call; None for anything else."""
    if (
        not isinstance(value, Mapping)
        or not isinstance(value.get("name"), str)
        or not isinstance(value.get(arguments), Mapping)
    ):
        return None
    return ToolCall(name=value["name"], arguments=value[arguments])


def calls_of(values: Any, arguments: str = "arguments") -> tuple[ToolCall, ...]:
    """One call object or a list of them; () unless every one is a call."""
    calls = [call_of(value, arguments) for value in (values if isinstance(values, list) else [values])]
    return tuple(call for call in calls if call is not None) if all(calls) else ()


def as_text(value: Any) -> str:
    """An argument of an XML-like format: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else to_json(value)


def typed(arguments: Iterator[tuple[str, str]] | Sequence[tuple[str, str]], name: str, tools: Tools) -> dict[str, Any]:
    """Arguments read as text -> values: text where the tool's schema says so, else JSON where it is JSON."""
    schema = next((tool.get("parameters") or {} for tool in tools if tool.get("name") == name), {})
    properties = schema.get("properties") or {}
    values = {}
    for key, text in arguments:
        value = from_json(text)
        is_text = properties.get(key, {}).get("type") == "string" or (value is None and text.strip() != "null")
        values[key] = text if is_text else value
    return values
