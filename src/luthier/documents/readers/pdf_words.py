"""Words of a PDF page, by where they stand, to lines and paragraphs of Markdown.

Enters: words with their boxes. Leaves: lines, and paragraphs where a gap, a bullet or letters of code begin one. Used where
liteparse's own blocks cannot stand: in cells, and beside tables. Lengths are points; y grows downwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

WORD_GAP = 0.15
"""Of a word's height: what stands further apart has a blank between."""
PARAGRAPH_GAP = 0.6
BULLET = re.compile(r"[•◦▪‣∙·●○■]\s*")
CODE_FONT = re.compile(r"mono|courier|consol|typewriter|cmtt|menlo|fixed|code", re.IGNORECASE)
WHOLE_WORD = re.compile(r"[^\W\d_]{4,}")
CJK = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")


class Word(NamedTuple):
    """One word, or a run of them that the file sets as one. is_code: in letters of one width."""

    x: float
    y: float
    width: float
    height: float
    text: str
    is_code: bool = False

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


class TextLine(NamedTuple):
    """Words side by side. top, bottom: the edges of the highest and the lowest one."""

    text: str
    top: float
    bottom: float
    is_code: bool


def is_code_font(name: str | None) -> bool:
    return CODE_FONT.search(name or "") is not None


def lines_of(words: Sequence[Word]) -> list[TextLine]:
    """From top to bottom; in a line from left to right."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.middle[1], word.x)):
        if rows and abs(word.middle[1] - rows[-1][0].middle[1]) < 0.5 * word.height:
            rows[-1].append(word)
        else:
            rows.append([word])
    return [_line(sorted(row)) for row in rows]


def _line(row: Sequence[Word]) -> TextLine:
    text = row[0].text
    for before, word in pairwise(row):
        apart = word.x - before.x - before.width > WORD_GAP * word.height
        text += (" " if apart and not text.endswith(" ") else "") + word.text
    bottom = max(word.y + word.height for word in row)
    return TextLine(text.strip(), min(word.y for word in row), bottom, all(word.is_code for word in row))


def join_lines(lines: Sequence[str], known: frozenset[str]) -> str:
    """Lines as one. A hyphen at a line's end goes where the whole word is known from elsewhere in the document."""
    text = ""
    for line in lines:
        if not text:
            text = line
        elif text[-1] in "-\u2010\u00ad":
            whole = "".join(re.findall(r"\w*$", text[:-1])[:1] + re.findall(r"^\w*", line)).lower()
            text = (text[:-1] if whole in known or text[-1] == "\u00ad" else text) + line
        else:
            text += ("" if CJK.match(text[-1]) and CJK.match(line[0]) else " ") + line
    return text


def paragraphs(words: Sequence[Word], known: frozenset[str]) -> list[str]:
    """Markdown blocks: a fence where a line is in letters of code, an item where a bullet is, else paragraphs."""
    done: list[str] = []
    for is_code, lines in groupby(lines_of(words), key=lambda line: line.is_code):
        if is_code:
            done.append("\n".join(["```", *(line.text for line in lines), "```"]))
            continue
        held: list[TextLine] = []
        for line in lines:
            apart = held and line.top - held[-1].bottom > PARAGRAPH_GAP * (held[-1].bottom - held[-1].top)
            if held and (apart or BULLET.match(line.text)):
                done.append(_paragraph(held, known))
                held = []
            held.append(line)
        done.append(_paragraph(held, known))
    return done


def _paragraph(lines: Sequence[TextLine], known: frozenset[str]) -> str:
    text = join_lines([line.text for line in lines], known)
    return BULLET.sub("- ", text, count=1) if BULLET.match(text) else text
