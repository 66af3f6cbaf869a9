"""Lines of a PDF page as Markdown: their words, the fences and tables they stand in."""

from __future__ import annotations

import re

SET = "\u2063"
"""An invisible sign at the end of headings that are set; it is taken off before the page leaves."""
HEADING = re.compile(r"^(#{1,6})\s+(.*\S)\s*$")
TABLE_LINE = re.compile(r"^\|(.+)\|\s*$")
RULER = re.compile(r"^\|(?:\s*:?-+:?\s*\|)+\s*$")
NOT_WORDS = re.compile(r"[\W_]+")
NUMBER = re.compile(
    r"^(?:\d+(?:\.\d+)*\.?|[A-Z](?:\.\d+)+\.?|第\s*[\d一二三四五六七八九十百零]+\s*[章节篇部条]|附录\s*[A-Z\d]+"
    r"|Appendix\s+[A-Z\d]+|Chapter\s+\d+)[\s　:：.、]*"
)
LONGEST_HEADING = 120


def plain(text: str) -> str:
    """Letters and digits alone: a bookmark has other quotes and dashes than its page."""
    return NOT_WORDS.sub("", text).lower()


def words_of(line: str) -> str:
    """A line without heading marks, bold or the bars of a table."""
    if RULER.match(line):
        return ""
    if match := TABLE_LINE.match(line):
        line = " ".join(cell.strip() for cell in match.group(1).split("|"))
    return line.strip().lstrip("#").replace("**", "").strip(" *")


def in_code(page: list[str]) -> list[bool]:
    """For each line whether it is inside a fence; the fences themselves are."""
    found, inside = [], False
    for line in page:
        is_fence = line.startswith("```")
        found.append(inside or is_fence)
        inside = inside != is_fence
    return found


def drop_empty_code(page: list[str]) -> None:
    """Take away fences with nothing between them."""
    inside, opened = False, 0
    for at in range(len(page) - 1, -1, -1):
        if page[at].startswith("```"):
            if inside and not any(line.strip() for line in page[at + 1 : opened]):
                del page[at : opened + 1]
            inside, opened = not inside, at


def after_table(page: list[str], at: int) -> int:
    """The line after a heading that was taken for the only row of a table: the ruler below it belongs to it."""
    return at + 2 if TABLE_LINE.match(page[at]) and at + 1 < len(page) and RULER.match(page[at + 1]) else at + 1
