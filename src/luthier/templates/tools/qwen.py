"""Qwen's tool formats: JSON between <tool_call> words (Qwen 2.5 and 3, Ling), and XML-like functions (Qwen 3.5, Coder)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.templates.tools.base import Tools, as_text, call_of, from_json, prompt, to_json, typed, wrapped
from luthier.types import ToolCall

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_FUNCTION = re.compile(r"<tool_call>\s*<function=([^>]+)>(.*?)</function>\s*</tool_call>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


class Qwen:
    name = "qwen"
    marked = True
    joint = "\n"
    words = ("<tool_call>", "</tool_call>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"\n{to_json(wrapped(tool))}" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        bodies = (to_json({"name": call.name, "arguments": call.arguments}) for call in calls)
        return "\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies)

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = list(_BLOCK.finditer(text))
        calls = [call_of(from_json(match[1])) for match in found]
        if not found or not all(calls):
            return text, ()
        return text[: found[0].start()].strip(), tuple(call for call in calls if call)


class Ling(Qwen):
    name = "ling"


class Qwen35:
    name = "qwen3_5"
    marked = True
    joint = "\n\n"
    words = ("<tool_call>", "</tool_call>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"\n{to_json(dict(tool))}" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            f"<tool_call>\n<function={call.name}>"
            + "".join(f"\n<parameter={key}>\n{as_text(value)}\n</parameter>" for key, value in call.arguments.items())
            + "\n</function>\n</tool_call>"
            for call in calls
        )

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = list(_FUNCTION.finditer(text))
        calls = tuple(
            ToolCall(name=match[1].strip(), arguments=typed(_PARAMETER.findall(match[2]), match[1].strip(), tools))
            for match in found
        )
        return (text[: found[0].start()].strip(), calls) if calls else (text, ())
