"""alpaca rows: instruction, input, output, and optionally history, system, tools, chosen and rejected, a rating.

The user turn is "instruction\\ninput". history is a list of [question, answer] pairs that come first; its answers are
learned like the last one. For pre-training the user turn is the text, as in LLaMA-Factory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.datasets.formats.columns import media_free, need_columns, other_columns, parse_rating
from luthier.datasets.formats.messages import bad_row, kind_of, parse_tools, split_thinking, text_of
from luthier.datasets.formats.parsed import Parsed, make_sample
from luthier.datasets.info import Entry
from luthier.types import Message, Origin, Prompt, Sample, Text


class Alpaca:
    def __init__(self, entry: Entry, wants: type[Sample]):
        self.entry = entry
        self.columns = entry.columns
        self.wants = wants

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Sample:
        media_free(row, self.columns, origin)
        user = self._user_text(row, origin)
        if self.wants is Text:
            return Text(text=user, origin=origin)
        messages = self._history(row, origin)
        messages.append(Message(role="user", content=user))
        system = self._text(row, "system", origin)
        if system:
            messages.insert(0, Message(role="system", content=system))
        parsed = Parsed(messages=messages, columns=other_columns(row, self.columns) if self.wants is Prompt else {})
        if self.columns["tools"]:
            parsed.tools = parse_tools(row.get(self.columns["tools"]), self.columns["tools"], origin)
        if self.entry.ranking:
            parsed.chosen, parsed.rejected = self._answer(row, "chosen", origin), self._answer(row, "rejected", origin)
            need_columns(row, self.columns, ("chosen", "rejected"), origin)
            return make_sample(parsed, self.wants, origin)
        if self.columns["kto_tag"]:
            parsed.desirable = parse_rating(row, self.columns["kto_tag"], origin)
        answer = self._answer(row, "response", origin)
        if answer is not None:
            messages.append(answer)
        elif self.wants is not Prompt:
            need_columns(row, self.columns, ("response",), origin)
        return make_sample(parsed, self.wants, origin)

    def _user_text(self, row: Mapping[str, Any], origin: Origin) -> str:
        if not any(self.columns[key] and row.get(self.columns[key]) is not None for key in ("prompt", "query")):
            need_columns(row, self.columns, ("prompt",), origin)
        parts = (self._text(row, "prompt", origin), self._text(row, "query", origin))
        return "\n".join(part for part in parts if part)

    def _text(self, row: Mapping[str, Any], key: str, origin: Origin) -> str:
        column = self.columns[key]
        return text_of(row.get(column), column, origin) if column else ""

    def _answer(self, row: Mapping[str, Any], key: str, origin: Origin) -> Message | None:
        column = self.columns[key]
        if not column or row.get(column) is None:
            return None
        thinking, content = split_thinking(text_of(row[column], column, origin))
        return Message(role="assistant", content=content, thinking=thinking)

    def _history(self, row: Mapping[str, Any], origin: Origin) -> list[Message]:
        column = self.columns["history"]
        history = row.get(column) if column else None
        if history is None or history == "":
            return []
        if not isinstance(history, (list, tuple)):
            raise bad_row(origin, f'has {kind_of(history)} in "{column}"', 'Write a list of ["question", "answer"] pairs.')
        messages = []
        for pair in history:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise bad_row(origin, f'has {kind_of(pair)} in "{column}"', 'Each item is a ["question", "answer"] pair.')
            messages.append(Message(role="user", content=text_of(pair[0], column, origin)))
            thinking, content = split_thinking(text_of(pair[1], column, origin))
            messages.append(Message(role="assistant", content=content, thinking=thinking))
        return messages
