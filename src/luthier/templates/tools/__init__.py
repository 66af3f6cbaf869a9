"""Tool formats by name, and the one that a chat template uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from luthier.errors import TemplateError
from luthier.registry import Registry
from luthier.templates.tools.base import ToolFormat

TOOL_FORMATS = Registry(
    "tool format",
    {
        "default": "luthier.templates.tools.react:ReAct",
        "deepseek": "luthier.templates.tools.deepseek:DeepSeek",
        "glm4": "luthier.templates.tools.glm:GLM4",
        "glm4_moe": "luthier.templates.tools.glm:GLM4MoE",
        "lfm2": "luthier.templates.tools.lfm2:LFM2",
        "llama3": "luthier.templates.tools.llama3:Llama3",
        "minimax1": "luthier.templates.tools.minimax:MiniMax1",
        "minimax2": "luthier.templates.tools.minimax:MiniMax2",
        "mistral": "luthier.templates.tools.mistral:Mistral",
        "phi4_mini": "luthier.templates.tools.phi:Phi4Mini",
        "qwen": "luthier.templates.tools.qwen:Qwen",
        "ling": "luthier.templates.tools.qwen:Ling",
        "qwen3_5": "luthier.templates.tools.qwen:Qwen35",
        "seed_oss": "luthier.templates.tools.seed:Seed",
    },
)


def find_tool_format(name: str) -> ToolFormat:
    return TOOL_FORMATS[name]()


@dataclass(frozen=True, slots=True)
class OwnCalls:
    """How a chat template writes tool calls itself.

    name: the format that reads them back ("default" where none does).  as_text: it wants arguments as JSON text.
    """

    name: str
    as_text: bool


def recognise(write: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str | None]) -> OwnCalls | None:
    """Tries to have a call written; None for a template that writes none.

    write(messages, tools) gives the text of the last answer; None where the template leaves it out or adds an empty one.
    """
    arguments = {"place": "Köln", "days": 3}
    schema = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
    tool = {"name": "look_up", "description": "d", "parameters": schema}
    for as_text in (False, True):
        given = json.dumps(arguments, ensure_ascii=False) if as_text else arguments
        call = {"type": "function", "id": "call00001", "function": {"name": "look_up", "arguments": given}}
        messages = [{"role": "user", "content": "qua"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        try:
            text = write(messages, [{"type": "function", "function": tool}])
        except TemplateError:
            continue
        if text is None or "look_up" not in text or "Köln" not in text:
            continue
        for name in TOOL_FORMATS:
            read = find_tool_format(name).read(text.rpartition("</think>")[2], [tool])[1]
            if [(call.name, dict(call.arguments)) for call in read] == [("look_up", arguments)]:
                return OwnCalls(name, as_text)
        return OwnCalls("default", as_text)
    return None
