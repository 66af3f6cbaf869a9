"""Headings and running heads of PDF pages, mended by what the file says about itself.

Enters: pages as Markdown, and bookmarks. Leaves: pages whose headings are those of the bookmarks with their levels; without
bookmarks, those that are numbered (1.2.3, 第一章, 第三条) or that the parser saw. Lines that come again at the edge of many
pages are taken away and counted. A line is split, never replaced: no word is lost but in running heads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.documents.base import plural
from luthier.documents.readers.pdf_bookmarks import by_bookmarks, set_heading
from luthier.documents.readers.pdf_heads import remove_running_heads
from luthier.documents.readers.pdf_lines import HEADING, RULER, SET, TABLE_LINE, in_code, plain, words_of
from luthier.documents.readers.pdf_numbers import by_numbers
from luthier.documents.readers.pdf_sizes import Bookmark

FEW_BOOKMARKS = 3
NUMBERED_ROW = re.compile(r"^\|\s*\**\d+(?:\.\d+)+\.?\**\s*\|[^|]*[^|\d\s][^|]*\|\s*$")
LABELS = {
    *("note", "tip", "hint", "important", "caution", "warning", "attention", "danger"),
    *("注意", "提示", "重要", "小心", "警告", "危险"),
}
"""What boxes beside the text are called: set like a heading, and none."""


def repair_pages(
    pages: Sequence[str], marks: Sequence[Bookmark], large: Sequence[Bookmark] = ()
) -> tuple[list[str], list[str]]:
    """(pages, notes). large: lines set larger than the text, for a file without bookmarks."""
    lines = [_untable(page.splitlines()) for page in pages]
    removed = remove_running_heads(lines)
    notes = [f"{plural(removed, 'running head or page number')} left out"] if removed else []
    if len(marks) >= FEW_BOOKMARKS:
        found = by_bookmarks(lines, marks)
        notes.append(f"headings from bookmarks: {found} of {len(marks)} found on their pages")
    else:
        by_numbers(lines)
        for mark in large:
            if plain(mark.title) not in LABELS:
                set_heading(lines[mark.page], mark)
        _embolden_labels(lines)
    _take_off_signs(lines)
    return ["\n".join(page) for page in lines], notes


def _untable(page: list[str]) -> list[str]:
    """A "table" whose first row is a section number and a title is no table: numbered rows become lines, the others prose."""
    done: list[str] = []
    at = 0
    while at < len(page):
        if NUMBERED_ROW.match(page[at]) and at + 1 < len(page) and RULER.match(page[at + 1]):
            while at < len(page) and TABLE_LINE.match(page[at]):
                if not RULER.match(page[at]):
                    done += [words_of(page[at]), ""] if NUMBERED_ROW.match(page[at]) else [words_of(page[at])]
                at += 1
            done.append("")
        else:
            done.append(page[at])
            at += 1
    return done


def _embolden_labels(lines: list[list[str]]) -> None:
    for page in lines:
        inside = in_code(page)
        for at, line in enumerate(page):
            if not inside[at] and (match := HEADING.match(line)) and plain(words := match.group(2).strip("*")) in LABELS:
                page[at] = f"**{words}**"


def _take_off_signs(lines: list[list[str]]) -> None:
    for page in lines:
        page[:] = [line.removesuffix(SET) for line in page]
