"""Headings of PDF pages by their numbers: 1.2.3, 第一章, 第三条."""

from __future__ import annotations

import re

from luthier.documents.readers.pdf_lines import HEADING, LONGEST_HEADING, SET, after_table, drop_empty_code, in_code, words_of

ARTICLE = re.compile(r"^(?:#+\s*)?(?:\*\*)?(第\s*[\d一二三四五六七八九十百零]+\s*([章节篇部条])[\s　:：]?.{0,60}?)(?:\*\*)?$")
NUMBERED = re.compile(r"^(?:\*\*)?((\d+(?:\.\d+){0,5})\.?[\s　]+(\S.{0,90}?))(?:\*\*)?$")
ARTICLE_LEVELS = {"篇": 1, "部": 1, "章": 1, "节": 2, "条": 3}
SENTENCE_END = (".", "。", "；", ";", "，", ",", "！", "!")


def by_numbers(lines: list[list[str]]) -> None:
    """Without bookmarks: numbered lines that stand alone are headings; other headings keep the level that the parser saw.

    A line that looks less like a heading (in a fence, or "5.18 {pre,post}{inst,rm}") is one where its number comes next.
    """
    last: tuple[int, ...] = ()
    for page in lines:
        at = 0
        inside = in_code(page)
        while at < len(page):
            if page[at].strip() and not page[at].startswith("```"):
                level, words, number = _number_level(page, at, inside[at], last)
                if level:
                    last = number or last
                    if inside[at]:
                        page[at : at + 1] = ["```", "", f"{'#' * level} {words}{SET}", "", "```"]
                        at += 3
                        inside = in_code(page)
                    else:
                        page[at : after_table(page, at)] = [f"{'#' * level} {words}{SET}"]
                        inside = in_code(page)
            at += 1
        drop_empty_code(page)


def _number_level(page: list[str], at: int, is_code: bool, last: tuple[int, ...]) -> tuple[int, str, tuple[int, ...]]:
    """(level, words, number) of a heading; level 0 where the line is none."""
    nothing = 0, "", ()
    line, words = page[at], words_of(page[at])
    if len(words) > LONGEST_HEADING or words.endswith(SENTENCE_END):
        return nothing
    alone = (at == 0 or not page[at - 1].strip()) and (at + 1 >= len(page) or not page[at + 1].strip())
    is_marked = HEADING.match(line) is not None or line.startswith("**")
    if (match := ARTICLE.match(words)) and not is_code and (alone or is_marked):
        return ARTICLE_LEVELS[match.group(2)], words, ()
    match = NUMBERED.match(words)
    if not match or re.search(r"\.{4,}|…{2,}|\s\d+$", words):
        return nothing
    number = tuple(int(part) for part in match.group(2).split("."))
    depth = len(number)
    comes_next = depth > 1 and _comes_next(last, number)
    opens_code = is_code and page[at - 1].startswith("```")
    sure = (alone or is_marked) and not is_code and re.match(r"[^\W\d_]", match.group(3)) and (depth > 1 or is_marked)
    if sure or (comes_next and (alone or is_marked or opens_code)):
        return min(depth, 6), words, number
    return nothing


def _comes_next(last: tuple[int, ...], number: tuple[int, ...]) -> bool:
    """4.1 -> 4.2, 4.1 -> 4.1.1, 4.1.3 -> 4.2, 4.7 -> 5.1."""
    if not last:
        return False
    depth = len(number)
    if depth > len(last):
        return number == (*last, 1)
    return (number[:-1] == last[: depth - 1] and number[-1] == last[depth - 1] + 1) or number == (
        *last[: depth - 2],
        last[depth - 2] + 1,
        1,
    )
