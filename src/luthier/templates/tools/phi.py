"""Phi-4-mini's tool format: JSON lists between <|tool|> and <|tool_call|> words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.templates.tools.base import Tools, calls_of, from_json, prompt, to_json
from luthier.types import ToolCall

_BLOCK = re.compile(r"<\|tool_call\|>(.*?)<\|/tool_call\|>", re.DOTALL)


class Phi4Mini:
    name = "phi4_mini"
    marked = True
    joint = ""
    words = ("<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", ", ".join(to_json(dict(tool)) for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        listed = to_json([{"name": call.name, "arguments": call.arguments} for call in calls])
        return f"<|tool_call|>{listed}<|/tool_call|>"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = _BLOCK.search(text)
        calls = calls_of(from_json(found[1])) if found else ()
        return (text[: found.start()].strip(), calls) if found and calls else (text, ())
