"""An answer that comes in pieces, told apart into reasoning, words and tool calls while it comes.

Enters: pieces of text, special tokens in them. Leaves: Events. What may begin something else is held back until it is known;
what turns out to be no call after all is words. Nothing of an answer is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.engines.detokenize import StopTexts
from luthier.templates.tools import find_tool_format
from luthier.templates.tools.base import to_json
from luthier.workflows.call_shape import CallShape, marks_of, shape_of
from luthier.workflows.thinking_stream import CLOSING, OPENING, ThinkingSplitter


@dataclass(frozen=True, slots=True)
class Event:
    """Something new. call: the name of a tool that is called from here on; arguments: a piece of that call's JSON text."""

    kind: Literal["thinking", "words", "call", "arguments"]
    text: str


class AnswerReader:
    """opened: whether the prompt has opened the reasoning.  hidden: special tokens that are no words.

    tools: function descriptions; without any, nothing is taken for a call.  tool_format: the template's (describe()).
    """

    def __init__(
        self,
        *,
        opened: bool = False,
        hidden: Sequence[str] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        tool_format: str = "",
    ):
        self._thinking = ThinkingSplitter(opened)
        self._hidden = [word for word in hidden if word not in (OPENING, CLOSING)]
        self._calls = CallReader(tool_format, tools) if tools else None

    def push(self, piece: str) -> Iterator[Event]:
        for word in self._hidden:
            piece = piece.replace(word, "")
        for kind, text in self._thinking.push(piece) if piece else ():
            yield from self._told(kind, text)

    def flush(self) -> Iterator[Event]:
        """What was held back when the answer ended."""
        for kind, text in self._thinking.flush():
            yield from self._told(kind, text)
        if self._calls:
            yield from self._calls.flush()

    def _told(self, kind: str, text: str) -> Iterator[Event]:
        if kind == "words" and self._calls:
            yield from self._calls.push(text)
        elif text:
            yield Event("thinking" if kind == "thinking" else "words", text)


class CallReader:
    """Words up to the first call, then calls: arguments as they come where they are JSON, else each call when whole."""

    def __init__(self, tool_format: str, tools: Sequence[Mapping[str, Any]]):
        self._format, self._tools = find_tool_format(tool_format), tools
        self._names = [tool["name"] for tool in tools]
        self._marks = marks_of(self._format, self._names)
        self._words = StopTexts(self._marks)
        self._blanks = ""  # white space at the end of the words: dropped if a call follows
        self._said = False
        self._region: str | None = None  # everything from the first call on
        self._inside: _Inside | None = None

    def push(self, text: str) -> Iterator[Event]:
        if self._region is None:
            seen = self._words._held + text
            words, met = self._words.push(text)
            yield from self._speak(words)
            if not met:
                return
            self._region, text = "", seen[len(words) :]
            shape = shape_of(self._format)
            self._inside = _Inside(shape, self._names) if shape else None
        self._region += text
        if self._inside:
            yield from self._inside.push(text)

    def flush(self) -> Iterator[Event]:
        if self._region is None:
            yield from self._speak(self._words.flush())
        elif self._inside and self._inside.begun:
            yield from self._speak(self._inside.rest())
        else:
            words, calls = self._format.read(self._region, self._tools)
            if calls:
                yield from self._speak(words)
            else:
                yield from self._speak(self._region)
            for call in calls:
                yield Event("call", call.name)
                yield Event("arguments", to_json(dict(call.arguments)))

    def _speak(self, text: str) -> Iterator[Event]:
        text = self._blanks + text
        kept = text.rstrip()
        self._blanks = text[len(kept) :]
        if kept:
            yield Event("words", kept)


class _Inside:
    """The region of the calls. begun: whether a call was given out, so that what remains is told by it alone."""

    def __init__(self, shape: CallShape, names: Sequence[str]):
        self._shape, self._names = shape, names
        self._text = ""
        self._step = self._first
        self._json: _Object | None = None
        self.begun = False

    def push(self, text: str) -> Iterator[Event]:
        self._text += text
        while True:
            before = self._step, self._text
            yield from self._step()
            if (self._step, self._text) == before:
                return

    def rest(self) -> str:
        """What stands behind the calls and is none: "" where it is their closing words, or the beginning of them."""
        left = self._text.strip()
        expected = (self._shape.tail + self._shape.closing).strip(), self._shape.closing.strip()
        return "" if self._json or any(words.startswith(left) for words in expected) else self._text

    def _first(self) -> Iterator[Event]:
        return self._begin(self._shape.opening.lstrip())

    def _next(self) -> Iterator[Event]:
        return self._begin(self._shape.between.lstrip()) if self._shape.many else iter(())

    def _begin(self, lead: str) -> Iterator[Event]:
        text = self._text.lstrip()
        for name in self._names:
            head = (lead + self._shape.head(name)).lstrip()
            if text.startswith(head):
                self._text, self._json, self._step, self.begun = text[len(head) :], _Object(), self._arguments, True
                yield Event("call", name)
                return

    def _arguments(self) -> Iterator[Event]:
        assert self._json
        length = self._json.take(self._text)
        text, self._text = self._text[:length], self._text[length:]
        if text:
            yield Event("arguments", text)
        if self._json.ended:
            self._json, self._step = None, self._tail

    def _tail(self) -> Iterator[Event]:
        text, tail = self._text.lstrip(), self._shape.tail.lstrip()
        if text.startswith(tail):
            self._text, self._step = text[len(tail) :], self._next
        return iter(())


class _Object:
    """Finds the end of a JSON object in pieces of text."""

    def __init__(self) -> None:
        self._depth, self._quoted, self._escaped = 0, False, False
        self.ended = False

    def take(self, text: str) -> int:
        """How much of text belongs to it."""
        for at, letter in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped, self._quoted = letter == "\\", letter != '"'
            elif letter == '"':
                self._quoted = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
            if self._depth <= 0 and not letter.isspace():
                self.ended = True
                return at + 1
        return len(text)
