"""Markdown text to blocks, in one pass: about 10 MB in half a second.

Enters: text. Leaves: blocks in order, with character spans; what lies between two blocks is white space only.
A block is what a cut should not go through: a fenced or indented code block, a table, a whole list with its nested items, a
quote, a paragraph. Blocks follow CommonMark 0.31 with GitHub's tables (checked against markdown-it in the tests); inside them
nothing is parsed. A run of lines without a mark of structure, the usual case, costs one regex match.
"""

from __future__ import annotations

import re

from luthier.documents.base import Block

BLANK = re.compile(r"(?:[^\S\n]*\n)*")
RUN = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\S\n]*\S[^\n]*)*")
"""Lines up to the next blank one."""
PLAIN = re.compile(r"[^\s#`~*+\-0-9<>=|_:][^\n]*+(?:\n[^\s#`~*+\-0-9<>=|_:][^\n]*+)*+(?=\s*\Z|\n[^\S\n]*\n)")
"""A run of which no line begins as structure does."""
HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
STRONG_ITEM = re.compile(r"[ \t]*(?:[-*+]|1[.)])[ \t]+\S")
"""Items that may follow a paragraph without a blank line."""
RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
DELIMITER = re.compile(r"[ \t]{0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
HTML = re.compile(r" {0,3}<(?:[A-Za-z][A-Za-z0-9-]*(?:[\s/>]|$)|/[A-Za-z]|!|\?)")
HTML_LONG = re.compile(r" {0,3}<(pre|script|style|textarea|table|!--)", re.IGNORECASE)
META = re.compile(r"---[ \t]*\n(?:[\w-]+[ \t]*:.*\n|[ \t]+.*\n|#.*\n|- .*\n)+?---[ \t]*(?:\n|$)")
INDENTED = re.compile(r" {4}|\t| {1,3}\t")
MAX_HTML = 200_000


def find_blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text."""
    blocks: list[Block] = []
    position = 0
    meta = META.match(text)
    if meta:
        blocks.append(Block("meta", 0, meta.end() - (meta.group()[-1] == "\n")))
        position = meta.end()
    blank, plain, run = BLANK.match, PLAIN.match, RUN.match
    while True:
        position = blank(text, position).end()
        if simple := plain(text, position):
            position = simple.end()
            end = _trimmed(text, simple.start(), position) if text[position - 1] in " \t\r" else position
            blocks.append(Block("paragraph", simple.start(), end))
        elif lines := run(text, position):
            position = _marked_run(text, position, lines.end(), blocks)
        else:
            return blocks


def _marked_run(text: str, start: int, end: int, blocks: list[Block]) -> int:
    """Blocks of a run that has marks. Returns where to go on, beyond end where a fence or HTML block went on after it."""
    if blocks and _continues(text, start, blocks[-1]):
        last = blocks.pop()
        return _Lines(text, blocks, last.kind, last.start).take(start, end)
    return _Lines(text, blocks).take(start, end)


def _continues(text: str, start: int, last: Block) -> bool:
    """Whether a run after a blank line still belongs to the block before it."""
    if last.kind == "list":
        line = text[start : _line_end(text, start)]
        return _column(text, start) >= 2 or (ITEM.match(line) is not None and RULE.match(line) is None)
    return last.kind == "code" and INDENTED.match(text, start) is not None and INDENTED.match(text, last.start) is not None


class _Lines:
    """Goes through lines with one block open. kind: of the open block, "" for none.  begin: where it began."""

    def __init__(self, text: str, blocks: list[Block], kind: str = "", begin: int = 0):
        self.text, self.blocks, self.kind, self.begin = text, blocks, kind, begin

    def take(self, at: int, end: int) -> int:
        """Lines from at to end, the end of a run. Returns where the next run is to be looked for."""
        while at < end:
            stop = _line_end(self.text, at)
            line = self.text[at:stop].rstrip("\r")
            if self.kind == "list" and _column(self.text, at) >= 2:
                at = self._inside_list(at, stop, line)
            else:
                at = self._line(at, stop, line, end)
            if at > end and self.text[at - 1 : at + 1].strip():  # lines right below what went over blank lines
                end = max(end, _run_end(self.text, at))
        self._close(min(max(at, end), len(self.text)))
        return max(at, end)

    def _inside_list(self, at: int, stop: int, line: str) -> int:
        """An indented line of a list; a fence is jumped over, so that nothing in it counts."""
        fence = FENCE.match(line.lstrip(" \t"))
        return _fence_end(self.text, stop, fence.group(1)) + 1 if fence else stop + 1

    def _line(self, at: int, stop: int, line: str, end: int) -> int:
        kind = self.kind
        indented = INDENTED.match(line) is not None
        if indented and kind in ("", "code"):
            if not kind:
                self._open("code", at)
            return stop + 1
        if kind == "code":
            self._close(at)
            kind = ""
        if indented and kind != "list":
            return stop + 1  # goes on with the paragraph, quote or HTML before it
        if fence := FENCE.match(line):
            return self._whole("code", at, _fence_end(self.text, stop, fence.group(1)))
        if heading := HEADING.match(line):
            return self._whole("heading", at, stop, len(heading.group(1)))
        if kind == "paragraph" and (under := SETEXT.match(line)):
            self.kind = ""
            return self._whole("heading", self.begin, stop, 1 if under.group(1)[0] == "=" else 2)
        if RULE.match(line):
            return self._whole("rule", at, stop)
        if kind != "list" and "|" in line and _is_table(self.text, stop, line, end):
            return self._whole("table", at, _table_end(self.text, stop, end))
        if kind != "html" and (long := HTML_LONG.match(line)):
            return self._whole("html", at, _html_end(self.text, at, long.group(1).lower(), end))
        if line.lstrip(" ").startswith(">"):
            if kind != "quote":
                self._open("quote", at)
        elif (kind == "" and ITEM.match(line)) or (kind in ("paragraph", "quote") and STRONG_ITEM.match(line)):
            self._open("list", at)
        elif kind == "":
            self._open("html" if HTML.match(line) else "paragraph", at)
        return stop + 1

    def _open(self, kind: str, at: int) -> None:
        self._close(at)
        self.kind, self.begin = kind, at

    def _whole(self, kind: str, at: int, stop: int, level: int = 0) -> int:
        """A block that is complete at stop. Returns the next line."""
        self._close(at)
        self.blocks.append(Block(kind, at, _trimmed(self.text, at, stop), level))
        return stop + 1

    def _close(self, stop: int) -> None:
        if self.kind and (stop := _trimmed(self.text, self.begin, stop)) > self.begin:
            self.blocks.append(Block(self.kind, self.begin, stop))
        self.kind = ""


def _trimmed(text: str, start: int, stop: int) -> int:
    """stop without the white space before it."""
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return stop


def _line_end(text: str, at: int) -> int:
    stop = text.find("\n", at)
    return len(text) if stop < 0 else stop


def _column(text: str, at: int) -> int:
    """How far a line is indented; a tab counts 4."""
    column = 0
    while at < len(text) and text[at] in " \t":
        column += 4 if text[at] == "\t" else 1
        at += 1
    return column


def _run_end(text: str, at: int) -> int:
    """The end of the lines from at up to the next blank line; at itself where that line is blank."""
    run = RUN.match(text, at)
    return run.end() if run else at


def _fence_end(text: str, after: int, mark: str) -> int:
    """The end of the closing line; the end of the text where nothing closes it (CommonMark says so)."""
    closing = re.compile(rf"^[ \t]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*\r?$", re.MULTILINE).search(text, after)
    return closing.end() if closing else len(text)


def _is_table(text: str, stop: int, line: str, end: int) -> bool:
    if stop >= end:
        return False
    below = text[stop + 1 : _line_end(text, stop + 1)].rstrip("\r")
    if not DELIMITER.match(below) or "-" not in below:
        return False
    return _cells(line) == _cells(below)


def _cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))) + 1


def _table_end(text: str, stop: int, end: int) -> int:
    """The end of the last row: a table ends at a blank line or where another block begins."""
    at = _line_end(text, stop + 1)
    while at < end:
        following = _line_end(text, at + 1)
        line = text[at + 1 : following]
        if not line.strip() or HEADING.match(line) or FENCE.match(line) or line.lstrip().startswith(">") or RULE.match(line):
            break
        if ITEM.match(line) and "|" not in line:
            break
        at = following
    return min(at, end)


def _html_end(text: str, at: int, tag: str, end: int) -> int:
    """The end of the line with the closing tag; of the run where there is none near."""
    closing = "-->" if tag == "!--" else f"</{tag}"
    found = text[at : at + MAX_HTML].lower().find(closing)
    return _line_end(text, at + found) if found >= 0 else end
