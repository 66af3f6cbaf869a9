"""Headings of PDF pages by what is known to be one: a bookmark, a line set larger than the text."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.documents.readers.pdf_lines import (
    HEADING,
    LONGEST_HEADING,
    NUMBER,
    SET,
    TABLE_LINE,
    after_table,
    drop_empty_code,
    in_code,
    plain,
    words_of,
)
from luthier.documents.readers.pdf_sizes import Bookmark


def by_bookmarks(lines: list[list[str]], marks: Sequence[Bookmark]) -> int:
    """Make the line of each bookmark its heading; other headings become bold. Returns how many were found."""
    found = 0
    for mark in marks:
        for number in (mark.page, mark.page + 1, mark.page - 1):
            if 0 <= number < len(lines) and set_heading(lines[number], mark):
                found += 1
                break
    for page in lines:
        for at, line in enumerate(page):
            if not line.endswith(SET) and (match := HEADING.match(line)):
                page[at] = f"**{match.group(2).strip('*')}**"
    return found


def set_heading(page: list[str], mark: Bookmark) -> bool:
    """Find the line (or two lines) of a bookmark on a page and make it a heading, marked with a sign that is taken off
    later."""
    wanted = {plain(mark.title), plain(NUMBER.sub("", mark.title))} - {""}
    if not wanted:
        return False
    hashes = "#" * min(mark.level, 6)
    inside = in_code(page)
    for at, line in enumerate(page):
        if inside[at] or not line.strip() or line.endswith(SET):
            continue
        words = words_of(line)
        if _matches(words, wanted):
            page[at : after_table(page, at)] = [f"{hashes} {words}{SET}", ""]
            return True
        below = at + 1 if at + 1 < len(page) and page[at + 1].strip() else at + 2
        if below < len(page) and len(words) < LONGEST_HEADING and not TABLE_LINE.match(line) and not inside[below]:
            both = f"{words} {words_of(page[below])}"
            if _matches(both, wanted):
                page[at : below + 1] = [f"{hashes} {both}{SET}", ""]
                return True
    longest = max(wanted, key=len)
    for at, line in enumerate(page):  # the heading and the text after it on one line
        words = words_of(line)
        if inside[at] or line.endswith(SET) or len(longest) < 4:
            continue
        if stop := _prefix(words, wanted):
            rest = words[stop:].strip(" *|")
            page[at : after_table(page, at)] = [f"{hashes} {words[:stop].strip(' *|')}{SET}", "", rest, ""]
            return True
    for at, line in enumerate(page):  # a name in the letters of code was taken for code
        if inside[at] and not line.startswith("```") and not line.endswith(SET) and _matches(line.strip(), wanted):
            page[at : at + 1] = ["```", "", f"{hashes} {line.strip()}{SET}", "", "```"]
            drop_empty_code(page)
            return True
    return False


def _matches(words: str, wanted: set[str]) -> bool:
    return plain(words) in wanted or plain(NUMBER.sub("", words)) in wanted


def _prefix(words: str, wanted: set[str]) -> int:
    """Where the heading ends in a longer line that begins with it; 0 where it does not."""
    number = NUMBER.match(words)
    for start in {0, number.end() if number else 0}:
        for title in wanted:
            at, left = start, title
            while left and at < len(words):
                piece = plain(words[at])
                if piece and not left.startswith(piece):
                    break
                left = left[len(piece) :]
                at += 1
            if not left and (
                at >= len(words) or not (words[at - 1].isascii() and words[at - 1].isalnum() and words[at].isalnum())
            ):
                return at
    return 0
