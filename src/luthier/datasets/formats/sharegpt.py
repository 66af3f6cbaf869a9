"""sharegpt rows: a list of {"from": "human" | "gpt" | "observation" | "function_call" | "system", "value": text}.

The words for the roles come from the entry's tags. A function_call is JSON, with thinking or words before it if any;
an observation becomes a tool message. In a ranking set the messages end with the question and chosen and rejected
are messages (or plain text).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.datasets.formats.columns import media_free, need_columns, other_columns, parse_rating
from luthier.datasets.formats.messages import (
    bad_row,
    check_order,
    kind_of,
    parse_calls,
    parse_tools,
    parse_weight,
    split_thinking,
    text_of,
)
from luthier.datasets.formats.parsed import Parsed, make_sample
from luthier.datasets.info import Entry
from luthier.types import Message, Origin, Prompt, Sample


class ShareGPT:
    def __init__(self, entry: Entry, wants: type[Sample]):
        self.entry = entry
        self.columns = entry.columns
        self.wants = wants
        tags = entry.tags
        self.role_key, self.content_key = tags["role_tag"], tags["content_tag"]
        self.roles = {
            tags["user_tag"]: "user",
            tags["assistant_tag"]: "assistant",
            tags["observation_tag"]: "tool",
            tags["function_tag"]: "call",
            tags["system_tag"]: "system",
        }

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Sample:
        media_free(row, self.columns, origin)
        messages = self._row_messages(row, origin)
        messages = self._with_system(messages, row, origin)
        parsed = Parsed(messages=messages, columns=other_columns(row, self.columns) if self.wants is Prompt else {})
        if self.columns["tools"]:
            parsed.tools = parse_tools(row.get(self.columns["tools"]), self.columns["tools"], origin)
        if self.entry.ranking:
            self._read_preference(parsed, row, origin)
        elif self.columns["kto_tag"]:
            parsed.desirable = parse_rating(row, self.columns["kto_tag"], origin)
        check_order(parsed.messages, origin)
        return make_sample(parsed, self.wants, origin)

    def _row_messages(self, row: Mapping[str, Any], origin: Origin) -> list[Message]:
        """The messages column. A ranking row may do without where its chosen answer brings the turns before it."""
        column = self.columns["messages"]
        if column is None or row.get(column) is None:
            chosen = row.get(self.columns["chosen"]) if self.entry.ranking else None
            if isinstance(chosen, (list, tuple)) and len(chosen) > 1:
                return []
            need_columns(row, self.columns, ("messages",), origin)
        return self.read_messages(row[column], origin)

    def read_messages(self, raw: Any, origin: Origin) -> list[Message]:
        if not isinstance(raw, (list, tuple)):
            raise bad_row(origin, f'has {kind_of(raw)} in "{self.columns["messages"]}"', "It must be a list of messages.")
        return [self.read_message(message, number, origin) for number, message in enumerate(raw, start=1)]

    def role_of(self, message: Any, number: int, origin: Origin) -> str:
        """One of Message's roles, or "call"."""
        if not isinstance(message, Mapping):
            raise bad_row(
                origin, f"has {kind_of(message)} as message {number}", "A message is an object with a role and words."
            )
        tag = message.get(self.role_key)
        role = self.roles.get(tag) if isinstance(tag, str) else None
        if role is None:
            found = f'has {kind_of(tag)} in "{self.role_key}"' if self.role_key in message else f'has no "{self.role_key}"'
            raise bad_row(
                origin,
                f"{found} of message {number} (known: {', '.join(self.roles)}; its keys: {', '.join(map(str, message))})",
                'Name the words that your rows use in dataset_info.json: "tags": {"role_tag": ..., "user_tag": ...}',
            )
        return role

    def read_message(self, message: Any, number: int, origin: Origin) -> Message:
        role = self.role_of(message, number, origin)
        if message.get(self.content_key) is None:
            raise bad_row(
                origin,
                f'has no "{self.content_key}" in message {number} (keys: {", ".join(map(str, message))})',
                'Name the key of the words in dataset_info.json: "tags": {"content_tag": ...}',
            )
        value = message[self.content_key]
        weight = parse_weight(message, "assistant" if role == "call" else role, origin)
        if role == "call":
            thinking, rest = split_thinking(value) if isinstance(value, str) else (None, value)
            content, calls = parse_calls(rest, self.content_key, origin)
            return Message(role="assistant", content=content, thinking=thinking, tool_calls=calls, weight=weight)
        content = text_of(value, self.content_key, origin)
        if role != "assistant":
            return Message(role=role, content=content)
        thinking, content = split_thinking(content)
        return Message(role=role, content=content, thinking=thinking, weight=weight)

    def _with_system(self, messages: list[Message], row: Mapping[str, Any], origin: Origin) -> list[Message]:
        """The system column, unless the messages bring their own; empty system text is none."""
        if messages and messages[0].role == "system":
            return messages if messages[0].content else messages[1:]
        column = self.columns["system"]
        system = text_of(row.get(column), column, origin) if column else ""
        return [Message(role="system", content=system), *messages] if system else messages

    def _read_preference(self, parsed: Parsed, row: Mapping[str, Any], origin: Origin) -> None:
        need_columns(row, self.columns, ("chosen", "rejected"), origin)
        answers = [self._answers(row, key, origin) for key in ("chosen", "rejected")]
        if answers[0][:-1] != answers[1][:-1]:
            raise bad_row(
                origin, "has a chosen and a rejected answer to different conversations", "They share all but the last turn."
            )
        if not any(message.role != "system" for message in parsed.messages):
            parsed.messages += answers[0][:-1]
        elif len(answers[0]) > 1 and answers[0][:-1] != [message for message in parsed.messages if message.role != "system"]:
            raise bad_row(
                origin, f'has other turns in "{self.columns["chosen"]}" than before it', "Give only the answer there."
            )
        parsed.chosen, parsed.rejected = answers[0][-1], answers[1][-1]
        if parsed.messages and parsed.messages[-1].role == "assistant":
            raise bad_row(
                origin,
                f'has an answer at the end of "{self.columns["messages"]}" as well as chosen and rejected',
                "The messages of a ranking set end with the question.",
            )

    def _answers(self, row: Mapping[str, Any], key: str, origin: Origin) -> list[Message]:
        """The answer in a column, after the turns before it if the column brings them: text, a message, or messages."""
        column = self.columns[key]
        value = row[column]
        if isinstance(value, str):
            thinking, content = split_thinking(value)
            return [Message(role="assistant", content=content, thinking=thinking)]
        raw = value if isinstance(value, (list, tuple)) else [value]
        messages = [self.read_message(message, number, origin) for number, message in enumerate(raw, start=1)]
        if not messages or messages[-1].role != "assistant":
            found = f"a {messages[-1].role} turn" if messages else "nothing"
            raise bad_row(origin, f'has {found} at the end of "{column}"', "It must be the assistant's answer.")
        return messages
