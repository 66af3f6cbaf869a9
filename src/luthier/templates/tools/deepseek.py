"""DeepSeek's tool format (V3, R1): calls between <｜tool▁calls▁begin｜> and <｜tool▁calls▁end｜>."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.templates.tools.base import Tools, from_json, prompt, to_json, wrapped
from luthier.types import ToolCall

_FENCED = re.compile(r"<｜tool▁call▁begin｜>function<｜tool▁sep｜>(.*?)\n```json\n(.*?)\n```<｜tool▁call▁end｜>", re.DOTALL)
_BARE = re.compile(r"<｜tool▁call▁begin｜>(.*?)<｜tool▁sep｜>(.*?)<｜tool▁call▁end｜>", re.DOTALL)  # V3.1


class DeepSeek:
    name = "deepseek"
    marked = True
    joint = ""
    words = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"\n\n{to_json(wrapped(tool), indent=2)}" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        each = (
            f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{call.name}\n```json\n{to_json(call.arguments)}\n```<｜tool▁call▁end｜>"
            for call in calls
        )
        return "<｜tool▁calls▁begin｜>" + "\n".join(each) + "<｜tool▁calls▁end｜>"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = _FENCED.findall(text) or _BARE.findall(text)
        values = [(name.strip(), from_json(arguments)) for name, arguments in found]
        if not values or not all(isinstance(arguments, dict) for _, arguments in values):
            return text, ()
        return text.partition("<｜tool▁calls▁begin｜>")[0].strip(), tuple(ToolCall(name=n, arguments=a) for n, a in values)
