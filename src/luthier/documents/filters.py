"""Cheap reasons not to trust a row, each with its own code. No model is asked; every flag can be explained in one sentence.

Enters: a question, an answer, the source that they came from. Leaves: flags (code, detail). What each code means, and whether
it keeps a row out, stands in filters.yaml. Filters only look; nothing is changed or deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from luthier.documents.base import shorten
from luthier.documents.dedup import normal
from luthier.documents.sentences import language_of

NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:]\d+)*%?")
LIST_NUMBER = re.compile(r"^\s*\d{1,3}[.)、]", re.MULTILINE)
NAME = re.compile(
    r"`([^`\n]{2,60})`|(?<![\w/])([A-Z][a-z]+[A-Z]\w*|[A-Z]{2,}\w*|[a-z]+(?:_[a-z0-9]+)+|--?[a-z][\w-]{2,})(?!\w)"
)
SHORT, LONG = 2, 6000
OWN_SHARE = 0.34


class Row(NamedTuple):
    """What is judged. source: the words that the answer may lean on, its headings among them."""

    question: str
    answer: str
    source: str
    language: str
    thinking: str = ""
    origin: str = "model"
    finish_reason: str = ""
    quotes: int = 0
    quotes_found: int = 0
    answerable: bool = True


def flags_of(row: Row, off: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(code, detail) of everything that is wrong. off: codes not to look for."""
    return [(code, detail) for code, detail in _look(row) if code not in off]


def blocks(code: str, warn: Sequence[str] = ()) -> bool:
    """Whether a row with this flag is kept out."""
    return bool(meanings()[code]["blocks"]) and code not in warn


@cache
def meanings() -> dict[str, dict[str, Any]]:
    """code -> {blocks, words}."""
    return {code: entry for code, entry in _table().items() if code != "patterns"}


@cache
def _table() -> dict[str, Any]:
    table = yaml.safe_load(Path(__file__).with_name("filters.yaml").read_text(encoding="utf-8"))
    table["patterns"] = {code: [re.compile(p, re.IGNORECASE) for p in patterns] for code, patterns in table["patterns"].items()}
    return table


def _look(row: Row) -> Iterator[tuple[str, str]]:
    question, answer = row.question.strip(), row.answer.strip()
    if not question or not answer:
        yield "empty", "question" if not question else "answer"
        return
    if len(answer) < SHORT:
        yield "too_short", answer
    if len(answer) > LONG:
        yield "too_long", f"{len(answer):,} characters"
    if row.finish_reason == "length":
        yield "cut", ""
    if answer.count("```") % 2:
        yield "leftovers", "an unclosed code fence"
    if row.origin == "extract":  # source text as it stands; what follows looks for a model's faults
        return
    if len(question) >= 8 and language_of(question) != row.language:
        yield "language", language_of(question)
    yield from _patterns(row)
    if loop := _loop(answer) or _loop(row.thinking):
        yield "loop", loop
    if len(question) > 20 and normal(question) in normal(row.source):
        yield "copies_source", ""
    if row.answerable:
        yield from _own(row)
        if row.quotes and not row.quotes_found:
            yield "no_evidence", f"{row.quotes} quotes"
        elif row.quotes_found < row.quotes:
            yield "lost_quote", f"{row.quotes - row.quotes_found} of {row.quotes}"
        elif not row.quotes:
            yield "no_evidence", "it gave no quote"


def _patterns(row: Row) -> Iterator[tuple[str, str]]:
    where = {
        "needs_document": (row.question, row.answer),
        "cites_document": (row.answer, row.thinking),
        "refusal": (row.answer,),
        "leftovers": (row.answer, row.question),
    }
    for code, texts in where.items():
        found = next((match.group() for p in _table()["patterns"][code] for text in texts if (match := p.search(text))), None)
        if found and not (code == "refusal" and not row.answerable):
            yield code, shorten(found)


def _own(row: Row) -> Iterator[tuple[str, str]]:
    """Numbers, names and code of the answer that neither the source nor the question has."""
    known = f"{row.source}\n{row.question}"
    squeezed = re.sub(r"[\s,]", "", known).lower()
    numbers = {number.replace(",", "") for number in NUMBER.findall(LIST_NUMBER.sub("", row.answer))}
    strange = sorted(number for number in numbers if number.rstrip(".:") not in squeezed)
    if strange:
        yield "own_numbers", shorten(", ".join(strange))
    names = {(code or name).strip() for code, name in NAME.findall(row.answer)}
    strange = sorted(name for name in names if re.sub(r"[\s,]", "", name).lower() not in squeezed)
    if names and len(strange) / len(names) > OWN_SHARE:
        yield "own_words_low", shorten(", ".join(strange))


def _loop(text: str) -> str:
    """A piece of at least 12 characters that stands four times in a row, or a line that stands six times; "" for none."""
    if match := re.search(r"(.{12,120}?)\1{3,}", text[:20_000], re.DOTALL):
        return shorten(match.group(1), 40)
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 15]
    return next((shorten(line, 40) for line in set(lines) if lines.count(line) >= 6), "")
