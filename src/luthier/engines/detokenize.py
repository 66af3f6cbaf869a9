"""Token ids in, text out as soon as it is whole; and the search for stop texts in it.

A character can take several tokens (byte fallback, byte-level pieces of Chinese and emoji), and some decoders drop the space
before the first token or write one mark for each byte of a broken run, so text is decoded in windows that begin where it was
whole, and what a window gains is given out up to its last whole character:

    window              decoded     given
    [▁the]              the         the
    [▁the][<0xE4>]      the�
    ... [<0xBD><0xA0>]  the你       你

What never becomes a whole character is no text: an answer that is cut inside one ends before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HALF = "\ufffd"
"""What decoders write for bytes that are no whole character (yet)."""

WINDOW = 8
"""Tokens of context; a longer window costs time, a shorter one more calls."""


class Detokenizer:
    """decode: ids -> text, special tokens kept, spaces left as they are."""

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode = decode
        self._window: list[int] = []
        self._given = 0  # characters of the decoded window that are out already
        self._whole = 0  # ids of the window after which the text was last known to be whole

    def push(self, id: int) -> str:
        """The text that became whole with this token; "" while a character is under way."""
        self._window.append(id)
        text = self._decode(self._window)
        whole = text.rstrip(HALF)
        piece = whole[self._given :]
        self._given = max(self._given, len(whole))
        if len(whole) == len(text) and len(self._window) - self._whole >= WINDOW:
            self._window = self._window[self._whole :]
            self._whole = len(self._window)
            self._given = len(self._decode(self._window))
        return piece


class StopTexts:
    """Looks for the first of some texts in a stream of pieces, also across their borders."""

    def __init__(self, stops: Sequence[str]):
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def push(self, piece: str) -> tuple[str, bool]:
        """(text that is surely part of the answer, whether a stop text was met). The end that may begin one is held back."""
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of text that begins stop.  ("ab<", "<|end|>") -> 1"""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
