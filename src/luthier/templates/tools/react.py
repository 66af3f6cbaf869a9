"""Tools in plain words, for models that were never taught a format of their own (ReAct, arXiv:2210.03629)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.templates.tools.base import Tools, from_json, prompt, to_json
from luthier.types import ToolCall

_CALL = re.compile(r"Action:[ \t]*([^\s:]+)\s*Action Input:\s*(.+?)(?=\s*\nAction:|\s*\Z)", re.DOTALL)


class ReAct:
    name = "default"
    marked = False
    joint = "\n"
    words = ()

    def describe(self, tools: Tools) -> str:
        names = ", ".join(tool["name"] for tool in tools)
        return prompt(self.name).replace("{tools}", "".join(map(_tool, tools))).replace("{names}", names)

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"Action: {call.name}\nAction Input: {to_json(call.arguments)}" for call in calls)

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = list(_CALL.finditer(text))
        values = [from_json(match[2]) for match in found]
        if not found or not all(isinstance(value, dict) for value in values):
            return text, ()
        calls = tuple(ToolCall(name=match[1], arguments=value) for match, value in zip(found, values))
        return text[: found[0].start()].strip(), calls


def _tool(tool: Mapping[str, Any]) -> str:
    schema = tool.get("parameters") or {}
    required = schema.get("required") or []
    lines = "".join(_argument(name, each, name in required) for name, each in (schema.get("properties") or {}).items())
    return f"> Tool Name: {tool['name']}\nTool Description: {tool.get('description', '')}\nTool Args:\n{lines}\n"


def _argument(name: str, schema: Mapping[str, Any], required: bool) -> str:
    kind = f"{schema.get('type', '')}{', required' if required else ''}"
    choices = schema.get("enum")
    enum = f", should be one of [{', '.join(map(str, choices))}]" if choices else ""
    items = f", where each item should be {schema['items'].get('type', '')}" if schema.get("items") else ""
    return f"  - {name} ({kind}): {schema.get('description', '')}{enum}{items}\n"
