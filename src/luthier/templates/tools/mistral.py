"""Mistral's tool format: a JSON list of calls after [TOOL_CALLS]."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.templates.tools.base import Tools, calls_of, from_json, prompt, to_json, wrapped
from luthier.types import ToolCall


class Mistral:
    name = "mistral"
    marked = False  # the word [TOOL_CALLS] is a control token that an engine may have left out
    joint = ""
    words = ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", ", ".join(to_json(wrapped(tool)) for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        return to_json([{"name": call.name, "arguments": call.arguments} for call in calls])

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        words, found, listed = text.partition("[TOOL_CALLS]")
        calls = calls_of(from_json(listed if found else text))
        return (words.strip() if found else "", calls) if calls else (text, ())
