"""GLM's tool formats: a name and JSON on the next line (GLM-4), and keys and values in XML-like words (GLM-4.5 and later)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.errors import TemplateError
from luthier.templates.tools.base import Tools, as_text, from_json, prompt, to_json, typed, wrapped
from luthier.types import ToolCall

_CALL = re.compile(r"<tool_call>\s*([^\s<{]+)\s*(?=<arg_key>|</tool_call>)(.*?)</tool_call>", re.DOTALL)
_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


class GLM4:
    name = "glm4"
    marked = False
    joint = "\n"
    words = ()

    def describe(self, tools: Tools) -> str:
        each, around = prompt("glm4_tool"), prompt(self.name)
        texts = (each.replace("{name}", tool["name"]).replace("{tool}", to_json(dict(tool), indent=4)) for tool in tools)
        return around.replace("{tools}", "".join(texts))

    def write(self, calls: Sequence[ToolCall]) -> str:
        if len(calls) > 1:
            raise TemplateError(
                f"the tool format glm4 writes one call in an answer, not {len(calls)}.", "Split the calls, or use glm4_moe."
            )
        return f"{calls[0].name}\n{to_json(calls[0].arguments)}"

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        name, _, rest = text.strip().partition("\n")
        arguments = from_json(rest)
        if not isinstance(arguments, dict) or not name or " " in name.strip():
            return text, ()
        return "", (ToolCall(name=name.strip(), arguments=arguments),)


class GLM4MoE:
    name = "glm4_moe"
    marked = True
    joint = "\n"
    words = ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")

    def describe(self, tools: Tools) -> str:
        return prompt(self.name).replace("{tools}", "".join(f"\n{to_json(wrapped(tool))}" for tool in tools))

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            f"<tool_call>{call.name}\n"
            + "".join(f"<arg_key>{key}</arg_key>\n<arg_value>{as_text(v)}</arg_value>\n" for key, v in call.arguments.items())
            + "</tool_call>"
            for call in calls
        )

    def read(self, text: str, tools: Tools = ()) -> tuple[str, tuple[ToolCall, ...]]:
        found = list(_CALL.finditer(text))
        calls = tuple(ToolCall(name=match[1], arguments=typed(_PAIR.findall(match[2]), match[1], tools)) for match in found)
        return (text[: found[0].start()].strip(), calls) if calls else (text, ())
