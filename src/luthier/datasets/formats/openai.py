"""OpenAI rows: {"messages": [{"role", "content", "tool_calls", "reasoning_content" ...}], "tools": [...]}.

role developer means system. content is text or a list of parts: {"type": "text", "text": ...}; parts of type reasoning
and tool_call with a "value" are read too. Nothing is added to anybody's system prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.datasets.formats.messages import bad_row, calls_of, kind_of, parse_calls, parse_weight, split_thinking, text_of
from luthier.datasets.formats.sharegpt import ShareGPT
from luthier.datasets.info import Entry
from luthier.types import Message, Origin, Sample, ToolCall

THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")


class OpenAI(ShareGPT):
    def __init__(self, entry: Entry, wants: type[Sample]):
        super().__init__(entry, wants)
        self.roles = {"developer": "system", "function": "tool", **self.roles}

    def read_messages(self, raw: Any, origin: Origin) -> list[Message]:
        if isinstance(raw, (list, tuple)) and len(raw) == 1 and isinstance(raw[0], (list, tuple)):
            raw = raw[0]  # one turn of a benchmark that lists turns: [[{"role": ...}]]
        return super().read_messages(raw, origin)

    def read_message(self, message: Any, number: int, origin: Origin) -> Message:
        role = self.role_of(message, number, origin)
        if role == "call":
            return super().read_message(message, number, origin)
        content, thinking, calls = self._parts(message.get(self.content_key), role, number, origin)
        if role != "assistant":
            if message.get(self.content_key) is None:
                raise bad_row(
                    origin, f'has no "{self.content_key}" in message {number}', "Only an assistant turn may have none."
                )
            parse_weight(message, role, origin)
            return Message(role=role, content=content)
        given = next((message[key] for key in THINKING_KEYS if isinstance(message.get(key), str)), None)
        if given is not None:
            thinking = given
        elif thinking is None:
            thinking, content = split_thinking(content)
        raw_calls = message.get("tool_calls") or ([message["function_call"]] if message.get("function_call") else None)
        if raw_calls:
            calls += (
                parse_calls(raw_calls, "tool_calls", origin)[1]
                if isinstance(raw_calls, str)
                else calls_of(raw_calls, "tool_calls", origin)
            )
        if not calls and message.get(self.content_key) is None:
            keys = ", ".join(map(str, message))
            raise bad_row(origin, f"has neither words nor tool_calls in message {number} (keys: {keys})", "Add one of them.")
        return Message(
            role=role, content=content, thinking=thinking, tool_calls=calls, weight=parse_weight(message, role, origin)
        )

    def _parts(self, content: Any, role: str, number: int, origin: Origin) -> tuple[str, str | None, tuple[ToolCall, ...]]:
        """Words, thinking and calls of a content that is text, null or a list of typed parts."""
        if not isinstance(content, (list, tuple)):
            return text_of(content, self.content_key, origin), None, ()
        words: list[str] = []
        thinking: list[str] = []
        calls: tuple[ToolCall, ...] = ()
        for part in content:
            kind = part.get("type") if isinstance(part, Mapping) else None
            value = part.get("text", part.get("value", part.get(kind))) if isinstance(kind, str) else part
            if isinstance(part, str) or kind in ("text", "input_text", "output_text"):
                words.append(text_of(value, "text", origin))
            elif kind in ("reasoning", "thinking") and role == "assistant":
                thinking.append(text_of(value, kind, origin))
            elif kind == "tool_call" and role == "assistant":
                calls += parse_calls(value, "tool_call", origin)[1]
            else:
                what = f'a part of type "{kind}"' if isinstance(kind, str) else kind_of(part)
                raise bad_row(
                    origin, f"has {what} in message {number} ({role})", "Parts are text; pictures and sounds are not built yet."
                )
        return "".join(words), "\n".join(thinking) if thinking else None, calls
