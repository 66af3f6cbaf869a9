"""The template of a model that only a server knows: conversations go there as they are.

Enters: conversations, and answers as engines/openai.py writes them. Leaves: the same, and messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.errors import TemplateError
from luthier.templates.thinking import split_generated
from luthier.templates.tools import find_tool_format
from luthier.templates.tools.base import bare
from luthier.types import Conversation, Message, Turn

FORMAT = "qwen"
"""How engines/openai.py writes the calls that a server tells apart."""


class RemoteTemplate:
    """See templates/base.py; without ids, which only the server could make."""

    name = "the server's own"
    stop_token_ids: tuple[int, ...] = ()

    def encode_prompt(self, conversation: Conversation) -> Any:
        """The conversation itself: the server writes it."""
        return conversation

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        thinking, rest = split_generated(text)
        content, calls = find_tool_format(FORMAT).read(rest, [bare(tool) for tool in tools])
        return Message(role="assistant", content=content, thinking=thinking, tool_calls=calls)

    def describe(self) -> Mapping[str, Any]:
        return {"template": self.name, "tool_format": FORMAT}

    def render(self, conversation: Conversation, *, add_generation_prompt: bool = False) -> str:
        return "\n\n".join(f"{message.role}: {message.content}" for message in conversation.messages)

    def encode(self, conversation: Conversation) -> list[Turn]:
        raise self._unknown()

    def encode_batch(self, conversations: Sequence[Conversation]) -> list[list[Turn]]:
        raise self._unknown()

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        raise self._unknown()

    def jinja(self) -> str:
        raise self._unknown()

    def _unknown(self) -> TemplateError:
        return TemplateError("only the server knows this model's template.", "Name the model here too: model_name_or_path")
