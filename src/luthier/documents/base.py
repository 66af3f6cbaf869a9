"""The nouns of documents/: what a reader gives, what a chunk is, what a row is before it is written.

file -> Reader -> Parsed -> Block -> Chunk -> Question -> Answer with Evidence
All offsets are characters of Parsed.text, counted from 0; end is exclusive. Pages count from 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The text of one file.

    text: Markdown (or plain text). For Markdown and text files it is the file, character by character.
    pages: (offset, page) where each page begins, ascending; empty where the source has no pages.
    notes: what the user should know: pages without text, repaired headings, a wrong file extension.
    """

    text: str
    title: str = ""
    pages: tuple[tuple[int, int], ...] = ()
    num_pages: int = 0
    kind: str = ""
    parser: str = ""
    version: str = ""
    notes: tuple[str, ...] = ()


class Reader(Protocol):
    """A function that reads one file. options: the recipe's `parse` part as plain values.

    Raises DataError naming the file where it cannot be read. Runs in a process of its own (readers/sandbox.py).
    """

    def __call__(self, path: Path, options: Mapping[str, Any]) -> Parsed: ...


@dataclass(frozen=True, slots=True)
class Block:
    """One block of Markdown. kind: heading, paragraph, code, table, list, quote, html, rule or meta. level: of a heading."""

    kind: str
    start: int
    end: int
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A span of the text that is asked about as one.

    path: the headings above it, outermost first.
    prefix: the span that must be read before it (the header of a table that was cut), or None.
    kind: what most of it is: text, table, code or list.
    """

    start: int
    end: int
    path: tuple[str, ...] = ()
    prefix: tuple[int, int] | None = None
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A quote of the source that supports an answer. match: exact, fuzzy or none (then start and end are -1)."""

    quote: str
    start: int = -1
    end: int = -1
    match: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A question with its answer, as a generator gives it."""

    question: str
    answer: str
    type: str = "fact"
    evidence: tuple[Evidence, ...] = ()
    thinking: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def digest(*parts: str | bytes) -> str:
    """32 hexadecimal digits that stand for these parts in this order."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def plural(count: int, noun: str) -> str:
    """3, "row" -> "3 rows"; 1, "row" -> "1 row"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shorten(text: str, width: int = 80) -> str:
    """The text in one line, cut with " ..." where it is longer than width."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 4]} ..."


def joined(items: Iterable[str], limit: int = 5) -> str:
    """The first few items with commas, and how many more there are."""
    shown = list(items)
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more
