"""Tool formats by name, and the one that a chat template uses."""

from __future__ import annotations

from collections.abc import Callable
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


def recognise(write: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str]) -> tuple[bool, str]:
    """Whether a chat template writes tool calls, and the name of the format that reads a probe back ("default": none does).

    write(messages, tools) gives the text of the last answer.
    """
    arguments = {"place": "Köln", "days": 3}
    schema = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
    tool = {"name": "look_up", "description": "d", "parameters": schema}
    call = {"type": "function", "id": "call00001", "function": {"name": "look_up", "arguments": arguments}}
    messages = [{"role": "user", "content": "qua"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    try:
        text = write(messages, [{"type": "function", "function": tool}])
    except TemplateError:
        return False, "default"
    for name in TOOL_FORMATS:
        read = find_tool_format(name).read(text.rpartition("</think>")[2], [tool])[1]
        if [(call.name, dict(call.arguments)) for call in read] == [("look_up", arguments)]:
            return True, name
    return "look_up" in text and "Köln" in text, "default"
