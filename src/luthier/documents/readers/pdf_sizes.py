"""Headings of a PDF without bookmarks, by the size of their letters.

Enters: pages of liteparse. Leaves: a Bookmark for each line that is set larger than the text, its level by the rank of its
size. What has a number in front gets its level from that (pdf_numbers.py); this is for titles without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from luthier.documents.readers.pdf_words import Word, lines_of

LARGER = 1.12
"""Of the size of most letters."""
LONGEST = 100
MOST_ON_A_PAGE = 12
"""A page with more large lines is a slide or a poster."""
MOST_LEVELS = 6


class Bookmark(NamedTuple):
    """level: 1 for the outermost.  page: from 0."""

    title: str
    level: int
    page: int


def headings_by_size(pages: Sequence[Any]) -> list[Bookmark]:
    """In the order of the pages, and on each from top to bottom."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for item in page.text_items:
            sizes[_size(item)] += len(item.text)
    if not sizes:
        return []
    usual = sizes.most_common(1)[0][0]
    found: list[tuple[str, float, int]] = []
    for page in pages:
        lines = _large_lines(page.text_items, LARGER * usual)
        found += [(title, size, page.page_num - 1) for title, size in lines if len(lines) <= MOST_ON_A_PAGE]
    ranks = {size: min(rank, MOST_LEVELS) for rank, size in enumerate(sorted({size for _, size, _ in found}, reverse=True), 1)}
    return [Bookmark(title, ranks[size], number) for title, size, number in found]


def _large_lines(items: Sequence[Any], least: float) -> list[tuple[str, float]]:
    """(words, size) of the lines whose letters are all that large."""
    found = []
    by_size: dict[float, list[Word]] = {}
    for item in items:
        if _size(item) >= least and item.text.strip() and not item.rotation:
            by_size.setdefault(_size(item), []).append(Word(item.x, item.y, item.width, item.height, item.text))
    for size, words in by_size.items():
        for line in lines_of(words):
            if 1 < len(line.text) <= LONGEST and any(letter.isalpha() for letter in line.text):
                found.append((line.top, line.text, size))
    return [(title, size) for _, title, size in sorted(found)]


def _size(item: Any) -> float:
    """In points, to half a point."""
    return round(2 * (item.font_size or item.height or 0)) / 2
