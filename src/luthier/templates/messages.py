"""Conversations in the form that chat templates are written for (Hugging Face's messages), control words of texts hidden.

In: a conversation. Out: message dicts and tools for apply_chat_template. Reasoning goes where the template looks for it;
what a template has no place for (reasoning, tool calls) is written into the words, and said once. Never renders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from luthier.errors import TemplateError
from luthier.templates.guard import HOLE, Guard, index_char
from luthier.templates.notices import Notices
from luthier.templates.thinking import THINK, ThinkingMode, split_thinking
from luthier.templates.tools import OwnCalls
from luthier.templates.tools.base import ToolFormat, bare, to_json, wrapped
from luthier.types import Conversation, Message


class MessageWriter:
    """source: the chat template.  own_calls: how the template writes tools and calls itself; if None, tool_format does."""

    def __init__(
        self,
        source: str,
        guard: Guard,
        *,
        default_system: str | None,
        thinking: ThinkingMode,
        tool_format: ToolFormat,
        own_calls: OwnCalls | None,
        notices: Notices,
    ):
        self._guard = guard
        self._default_system = default_system
        self._thinking = thinking
        self._tool_format = tool_format
        self._own = own_calls
        self._notices = notices
        self.reasoning_keys = [
            key
            for key, signs in {
                "reasoning_content": ("reasoning_content",),
                "thinking": ("message.thinking", "['thinking']", '["thinking"]'),
            }.items()
            if any(sign in source for sign in signs)
        ]

    def prepare(self, conversation: Conversation) -> Conversation:
        """The conversation as it is to be written: default system message, reasoning told apart or left out on request."""
        messages = list(conversation.messages)
        if not messages:
            raise TemplateError("a conversation has no messages.", "Remove it from the dataset.")
        if messages[0].role != "system" and (self._default_system or (conversation.tools and self._own is None)):
            messages.insert(0, Message(role="system", content=self._default_system or ""))
        messages = [self._settle_thinking(message) if message.role == "assistant" else message for message in messages]
        if self._own is None and any(message.role == "tool" for message in messages):
            messages = _results_from_user(messages)
        return replace(conversation, messages=tuple(messages))

    def _settle_thinking(self, message: Message) -> Message:
        if message.thinking is None and "<think>" not in message.content:
            return message
        thinking, content = message.thinking, message.content
        if thinking is None and (self.reasoning_keys or self._thinking.enabled is False):
            thinking, content = split_thinking(message.content)
        if thinking is not None and self._thinking.enabled is False:
            if thinking.strip():
                self._notices.warn("off", "enable_thinking is false: the reasoning in the data is left out.")
            thinking = None
        return replace(message, thinking=thinking, content=content)

    def messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """A prepared conversation as message dicts."""
        written = [self._message(message, k) for k, message in enumerate(conversation.messages)]
        if conversation.tools and self._own is None:
            described = self._tool_format.describe(self._descriptions(conversation.tools))
            system = written[0]["content"]
            written[0]["content"] = system + described if system else described.lstrip("\n")
        return written

    def tools(self, conversation: Conversation) -> list[dict[str, Any]] | None:
        """Tools for apply_chat_template; None where there are none or the system message speaks of them."""
        if not conversation.tools or self._own is None:
            return None
        return [wrapped(tool) for tool in self._descriptions(conversation.tools)]

    def _descriptions(self, tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [self._guard.hide_json(bare(tool)) for tool in tools]

    def _message(self, message: Message, number: int) -> dict[str, Any]:
        hide = self._guard.hide
        result: dict[str, Any] = {"role": message.role, "content": hide(message.content)}
        if message.role == "assistant" and not self.reasoning_keys:
            result["content"] = self._thinking_as_text(message)
        elif message.thinking is not None:
            result |= dict.fromkeys(self.reasoning_keys, hide(message.thinking))
        calls = self._guard.hide_calls(message.tool_calls)
        if calls and self._own is None:
            joint = self._tool_format.joint if message.content else ""
            result["content"] += joint + self._tool_format.write(calls)
            self._notices.warn("calls", f"it writes no tool calls of its own: they have the form {self._tool_format.name}.")
        elif calls and self._own is not None:
            result["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id or f"call{number:03d}{k:02d}",  # Mistral's template wants nine characters
                    "function": {
                        "name": call.name,
                        "arguments": to_json(call.arguments) if self._own.as_text else call.arguments,
                    },
                }
                for k, call in enumerate(calls)
            ]
        return result

    def _thinking_as_text(self, message: Message) -> str:
        """For a template that knows no reasoning: written before the words as models that reason write it."""
        hide, thinking = self._guard.hide, message.thinking
        if thinking:
            return f"{THINK[0]}{hide(thinking)}{THINK[1]}{hide(message.content)}"
        if split_thinking(message.content)[0] is None:
            return hide(message.content)
        head, _, tail = message.content.partition("<think>")
        inner, _, tail = tail.partition("</think>")
        return f"{head}<think>{hide(inner)}</think>{hide(tail)}"


def _results_from_user(messages: Sequence[Message]) -> list[Message]:
    """Tool results as the user's words, several in a row as one message."""
    out: list[Message] = []
    for before, message in zip([None, *messages], messages):
        if message.role != "tool":
            out.append(message)
        elif before is not None and before.role == "tool":
            out[-1] = replace(out[-1], content=f"{out[-1].content}\n{message.content}")
        else:
            out.append(replace(message, role="user"))
    return out


def texts_of(conversation: Conversation) -> list[str]:
    """Texts of the messages in the order of their holes: reasoning, then words."""
    return [text for message in conversation.messages for text in (message.thinking, message.content) if text is not None]


def with_holes(conversation: Conversation) -> Conversation:
    """The conversation with a numbered hole in place of each text."""
    holes = iter(range(2 * len(conversation.messages)))
    messages = []
    for message in conversation.messages:
        thinking = None if message.thinking is None else HOLE + index_char(next(holes))
        messages.append(replace(message, thinking=thinking, content=HOLE + index_char(next(holes))))
    return replace(conversation, messages=tuple(messages))
