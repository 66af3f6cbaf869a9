"""Headings and running heads of PDF pages, mended by what the file says about itself.

Enters: pages as Markdown, and bookmarks. Leaves: pages whose headings are those of the bookmarks with their levels; without
bookmarks, those that are numbered (1.2.3, 第一章, 第三条) or that the parser saw. Lines that come again at the edge of many
pages are taken away and counted. A line is split, never replaced: no word is lost but in running heads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from luthier.documents.base import plural
from luthier.documents.readers.pdf_heads import remove_running_heads
from luthier.documents.readers.pdf_sizes import Bookmark

FEW_BOOKMARKS = 3
LONGEST_HEADING = 120
SET = "\u2063"
"""An invisible sign at the end of headings that are set; it is taken off before the page leaves."""
HEADING = re.compile(r"^(#{1,6})\s+(.*\S)\s*$")
TABLE_LINE = re.compile(r"^\|(.+)\|\s*$")
NUMBERED_ROW = re.compile(r"^\|\s*\**\d+(?:\.\d+)+\.?\**\s*\|[^|]*[^|\d\s][^|]*\|\s*$")
RULER = re.compile(r"^\|(?:\s*:?-+:?\s*\|)+\s*$")
NOT_WORDS = re.compile(r"[\W_]+")
NUMBER = re.compile(
    r"^(?:\d+(?:\.\d+)*\.?|[A-Z](?:\.\d+)+\.?|第\s*[\d一二三四五六七八九十百零]+\s*[章节篇部条]|附录\s*[A-Z\d]+"
    r"|Appendix\s+[A-Z\d]+|Chapter\s+\d+)[\s　:：.、]*"
)
ARTICLE = re.compile(r"^(?:#+\s*)?(?:\*\*)?(第\s*[\d一二三四五六七八九十百零]+\s*([章节篇部条])[\s　:：]?.{0,60}?)(?:\*\*)?$")
NUMBERED = re.compile(r"^(?:\*\*)?((\d+(?:\.\d+){0,5})\.?[\s　]+(\S.{0,90}?))(?:\*\*)?$")
ARTICLE_LEVELS = {"篇": 1, "部": 1, "章": 1, "节": 2, "条": 3}
LABELS = {
    *("note", "tip", "hint", "important", "caution", "warning", "attention", "danger"),
    *("注意", "提示", "重要", "小心", "警告", "危险"),
}
"""What boxes beside the text are called: set like a heading, and none."""
SENTENCE_END = (".", "。", "；", ";", "，", ",", "！", "!")


def repair_pages(
    pages: Sequence[str], marks: Sequence[Bookmark], large: Sequence[Bookmark] = ()
) -> tuple[list[str], list[str]]:
    """(pages, notes). large: lines set larger than the text, for a file without bookmarks."""
    lines = [_untable(page.splitlines()) for page in pages]
    removed = remove_running_heads(lines)
    notes = [f"{plural(removed, 'running head or page number')} left out"] if removed else []
    if len(marks) >= FEW_BOOKMARKS:
        found = _by_bookmarks(lines, marks)
        notes.append(f"headings from bookmarks: {found} of {len(marks)} found on their pages")
    else:
        _by_numbers(lines)
        for mark in large:
            if _plain(mark.title) not in LABELS:
                _set_heading(lines[mark.page], mark)
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
                    done += [_words(page[at]), ""] if NUMBERED_ROW.match(page[at]) else [_words(page[at])]
                at += 1
            done.append("")
        else:
            done.append(page[at])
            at += 1
    return done


def _plain(text: str) -> str:
    """Letters and digits alone: a bookmark has other quotes and dashes than its page."""
    return NOT_WORDS.sub("", text).lower()


def _by_bookmarks(lines: list[list[str]], marks: Sequence[Bookmark]) -> int:
    """Make the line of each bookmark its heading; other headings become bold. Returns how many were found."""
    found = 0
    for mark in marks:
        for number in (mark.page, mark.page + 1, mark.page - 1):
            if 0 <= number < len(lines) and _set_heading(lines[number], mark):
                found += 1
                break
    for page in lines:
        for at, line in enumerate(page):
            if not line.endswith(SET) and (match := HEADING.match(line)):
                page[at] = f"**{match.group(2).strip('*')}**"
    _take_off_signs(lines)
    return found


def _embolden_labels(lines: list[list[str]]) -> None:
    for page in lines:
        inside = _in_code(page)
        for at, line in enumerate(page):
            if not inside[at] and (match := HEADING.match(line)) and _plain(words := match.group(2).strip("*")) in LABELS:
                page[at] = f"**{words}**"


def _take_off_signs(lines: list[list[str]]) -> None:
    for page in lines:
        page[:] = [line.removesuffix(SET) for line in page]


def _set_heading(page: list[str], mark: Bookmark) -> bool:
    """Find the line (or two lines) of a bookmark on a page and make it a heading, marked with a sign that is taken off
    later."""
    wanted = {_plain(mark.title), _plain(NUMBER.sub("", mark.title))} - {""}
    if not wanted:
        return False
    hashes = "#" * min(mark.level, 6)
    inside = _in_code(page)
    for at, line in enumerate(page):
        if inside[at] or not line.strip() or line.endswith(SET):
            continue
        words = _words(line)
        if _matches(words, wanted):
            page[at : _after_table(page, at)] = [f"{hashes} {words}{SET}", ""]
            return True
        below = at + 1 if at + 1 < len(page) and page[at + 1].strip() else at + 2
        if below < len(page) and len(words) < LONGEST_HEADING and not TABLE_LINE.match(line) and not inside[below]:
            both = f"{words} {_words(page[below])}"
            if _matches(both, wanted):
                page[at : below + 1] = [f"{hashes} {both}{SET}", ""]
                return True
    longest = max(wanted, key=len)
    for at, line in enumerate(page):  # the heading and the text after it on one line
        words = _words(line)
        if inside[at] or line.endswith(SET) or len(longest) < 4:
            continue
        if stop := _prefix(words, wanted):
            rest = words[stop:].strip(" *|")
            page[at : _after_table(page, at)] = [f"{hashes} {words[:stop].strip(' *|')}{SET}", "", rest, ""]
            return True
    for at, line in enumerate(page):  # a name in the letters of code was taken for code
        if inside[at] and not line.startswith("```") and not line.endswith(SET) and _matches(line.strip(), wanted):
            page[at : at + 1] = ["```", "", f"{hashes} {line.strip()}{SET}", "", "```"]
            _drop_empty_code(page)
            return True
    return False


def _in_code(page: list[str]) -> list[bool]:
    """For each line whether it is inside a fence; the fences themselves are."""
    found, inside = [], False
    for line in page:
        is_fence = line.startswith("```")
        found.append(inside or is_fence)
        inside = inside != is_fence
    return found


def _drop_empty_code(page: list[str]) -> None:
    """Take away fences with nothing between them."""
    inside, opened = False, 0
    for at in range(len(page) - 1, -1, -1):
        if page[at].startswith("```"):
            if inside and not any(line.strip() for line in page[at + 1 : opened]):
                del page[at : opened + 1]
            inside, opened = not inside, at


def _words(line: str) -> str:
    """A line without heading marks, bold or the bars of a table."""
    if RULER.match(line):
        return ""
    if match := TABLE_LINE.match(line):
        line = " ".join(cell.strip() for cell in match.group(1).split("|"))
    return line.strip().lstrip("#").replace("**", "").strip(" *")


def _matches(words: str, wanted: set[str]) -> bool:
    return _plain(words) in wanted or _plain(NUMBER.sub("", words)) in wanted


def _prefix(words: str, wanted: set[str]) -> int:
    """Where the heading ends in a longer line that begins with it; 0 where it does not."""
    number = NUMBER.match(words)
    for start in {0, number.end() if number else 0}:
        for title in wanted:
            at, left = start, title
            while left and at < len(words):
                piece = _plain(words[at])
                if piece and not left.startswith(piece):
                    break
                left = left[len(piece) :]
                at += 1
            if not left and (
                at >= len(words) or not (words[at - 1].isascii() and words[at - 1].isalnum() and words[at].isalnum())
            ):
                return at
    return 0


def _after_table(page: list[str], at: int) -> int:
    """The line after a heading that was taken for the only row of a table: the ruler below it belongs to it."""
    return at + 2 if TABLE_LINE.match(page[at]) and at + 1 < len(page) and RULER.match(page[at + 1]) else at + 1


def _by_numbers(lines: list[list[str]]) -> None:
    """Without bookmarks: numbered lines that stand alone are headings; other headings keep the level that the parser saw.

    A line that looks less like a heading (in a fence, or "5.18 {pre,post}{inst,rm}") is one where its number comes next.
    """
    last: tuple[int, ...] = ()
    for page in lines:
        at = 0
        inside = _in_code(page)
        while at < len(page):
            if page[at].strip() and not page[at].startswith("```"):
                level, words, number = _number_level(page, at, inside[at], last)
                if level:
                    last = number or last
                    if inside[at]:
                        page[at : at + 1] = ["```", "", f"{'#' * level} {words}{SET}", "", "```"]
                        at += 3
                        inside = _in_code(page)
                    else:
                        page[at : _after_table(page, at)] = [f"{'#' * level} {words}{SET}"]
                        inside = _in_code(page)
            at += 1
        _drop_empty_code(page)


def _number_level(page: list[str], at: int, is_code: bool, last: tuple[int, ...]) -> tuple[int, str, tuple[int, ...]]:
    """(level, words, number) of a heading; level 0 where the line is none."""
    nothing = 0, "", ()
    line, words = page[at], _words(page[at])
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
