"""An answer that comes in pieces, told apart into reasoning and words while it comes.

Enters: pieces of text. Leaves: (kind, text). What may begin a tag is held back until it is known to be one or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from luthier.templates.thinking import THINK

Kind = Literal["thinking", "words"]

OPENING, CLOSING = (word.strip() for word in THINK)


class ThinkingSplitter:
    """Tells the reasoning from the words while they come. opened: whether the prompt has opened the reasoning already."""

    def __init__(self, opened: bool = False):
        self._kind: Kind | None = "thinking" if opened else None
        self._held = ""
        self._just_closed = False

    def push(self, piece: str) -> Iterator[tuple[Kind, str]]:
        text, self._held = self._held + piece, ""
        if self._kind is None:
            head = text.lstrip()
            if len(head) < len(OPENING) and OPENING.startswith(head):
                self._held = text
                return
            self._kind = "thinking" if head.startswith(OPENING) else "words"
            text = head[len(OPENING) :] if self._kind == "thinking" else text
        if self._kind == "thinking":
            thought, closed, rest = text.partition(CLOSING)
            if closed:
                self._kind, text, self._just_closed = "words", rest, True
                if thought.strip():
                    yield "thinking", thought
            else:
                keep = next((n for n in range(len(CLOSING) - 1, 0, -1) if text.endswith(CLOSING[:n])), 0)
                text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        if self._just_closed:  # the blank lines behind the tag are no words
            text = text.lstrip("\n")
            self._just_closed = not text
        if text:
            yield self._kind, text

    def flush(self) -> Iterator[tuple[Kind, str]]:
        """What was held back when the answer ended."""
        if self._held:
            yield self._kind or "words", self._held
            self._held = ""
