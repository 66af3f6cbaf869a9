"""Seed-OSS's tool format: XML-like functions between <seed:tool_call> words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.templates.tools.base import Tools, as_text, prompt, to_json, typed
from luthier.types import ToolCall

_CALL = re.compile(r"<seed:tool_call>\s*<function=([^>]+)>(.*?)</function>\s*</seed:tool_call>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>]+)>(.*?)</parameter>", re.DOTALL)


class Seed:
    name = "seed_oss"
    marked = True
    joint = "\n\n"
    words = ("<seed:tool_call>", "</seed:tool_call>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", f"\n{to_json([dict(tool) for tool in tools])}")

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            f"<seed:tool_call>\n<function={call.name}>"
            + "".join(f"\n<parameter={key}>{as_text(value)}</parameter>" for key, value in call.arguments.items())
            + "\n</function>\n</seed:tool_call>"
            for call in calls
        )

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = list(_CALL.finditer(text))
        calls = tuple(
            ToolCall(name=match[1], arguments=typed(_PARAMETER.findall(match[2]), match[1], tools)) for match in found
        )
        return (text[: found[0].start()].strip(), calls) if calls else (text, ())
