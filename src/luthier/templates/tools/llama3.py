"""Llama 3's tool format: one bare JSON object, or a list of them, with "parameters"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from luthier.templates.tools.base import Tools, calls_of, from_json, prompt, to_json, wrapped
from luthier.types import ToolCall


class Llama3:
    name = "llama3"
    marked = False
    joint = ""
    words = ()

    def describe(self, tools: Tools) -> str:
        descriptions = "".join(f"{to_json(wrapped(tool), indent=4)}\n\n" for tool in tools)
        today = datetime.now().strftime("%d %b %Y")  # the format names the day, as the family's own prompt does
        return prompt(self.name).replace("{today}", today).replace("{tools}", descriptions)

    def write(self, calls: Sequence[ToolCall]) -> str:
        objects = [{"name": call.name, "parameters": call.arguments} for call in calls]
        return to_json(objects[0] if len(objects) == 1 else objects)

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        calls = calls_of(from_json(text.replace("<|python_tag|>", "")), "parameters")
        return ("", calls) if calls else (text, ())
