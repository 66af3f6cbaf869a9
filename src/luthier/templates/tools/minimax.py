"""MiniMax's tool formats: one JSON object a line (M1), and XML-like invocations (M2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.templates.tools.base import Tools, as_text, call_of, from_json, prompt, to_json, typed
from luthier.types import ToolCall

_LINES = re.compile(r"<tool_calls>\s*(.*?)\s*</tool_calls>", re.DOTALL)
_BLOCK = re.compile(r"<minimax:tool_call>(.*?)</minimax:tool_call>", re.DOTALL)
_INVOKE = re.compile(r'<invoke name="(.*?)">(.*?)</invoke>', re.DOTALL)
_PARAMETER = re.compile(r'<parameter name="(.*?)">(.*?)</parameter>', re.DOTALL)


class MiniMax1:
    name = "minimax1"
    marked = True
    joint = "\n"
    words = ("<tool_calls>", "</tool_calls>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"{to_json(dict(tool))}\n" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        lines = (to_json({"name": call.name, "arguments": call.arguments}) for call in calls)
        return "<tool_calls>\n" + "\n".join(lines) + "\n</tool_calls>"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = _LINES.search(text)
        calls = [call_of(from_json(line)) for line in found[1].split("\n") if line.strip()] if found else []
        if not found or not calls or not all(calls):
            return text, ()
        return text[: found.start()].strip(), tuple(call for call in calls if call)


class MiniMax2:
    name = "minimax2"
    marked = True
    joint = ""
    words = ("<minimax:tool_call>", "</minimax:tool_call>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"<tool>{to_json(dict(tool))}</tool>\n" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        invocations = "".join(
            f'<invoke name="{call.name}">\n'
            + "".join(f'<parameter name="{key}">{as_text(value)}</parameter>\n' for key, value in call.arguments.items())
            + "</invoke>\n"
            for call in calls
        )
        return f"\n<minimax:tool_call>\n{invocations}</minimax:tool_call>"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = _BLOCK.search(text)
        calls = tuple(
            ToolCall(name=name, arguments=typed(_PARAMETER.findall(body), name, tools))
            for name, body in (_INVOKE.findall(found[1]) if found else ())
        )
        return (text[: found.start()].strip(), calls) if found and calls else (text, ())
