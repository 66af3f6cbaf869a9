"""What every topic shares: the item it makes, the decks it draws from, and the rule that holds questions out of training.

A topic turns tables (tables/*.yaml) into questions with answers. It never decides how often it is asked: corpus.py does.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import yaml

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TABLES = Path(__file__).resolve().parent.parent / "tables"
HELD_OUT_IN = 12
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One exchange. key: the bare answer (None where no single one is right). proof: what a right answer holds and a wrong one
    does not, where that is more than the key ("= 7" for 3 + 4).

    turns: (role, text) in sharegpt roles when the exchange is more than question and answer (tool calls); else empty.
    tools: JSON list of the offered tools.  graded: whether it may be held out and scored.
    """

    topic: str
    language: Language
    question: str
    answer: str
    key: str | None = None
    proof: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    tools: str = ""
    graded: bool = True

    @property
    def held_out(self) -> bool:
        return self.graded and held_out(self.question)


class Topic(Protocol):
    """draw makes an item; say makes a sentence for pre-training, or "" where the topic has none in this language."""

    def draw(self, rng: random.Random, language: Language) -> Item: ...

    def say(self, rng: random.Random, language: Language) -> str: ...


class Deck(Generic[T]):
    """Cards dealt in random order, all of them before any comes again: rare facts are met as often as common ones."""

    def __init__(self, cards: Sequence[T]):
        self._cards = list(cards)
        self._left: list[T] = []

    def __len__(self) -> int:
        return len(self._cards)

    def deal(self, rng: random.Random) -> T:
        if not self._left:
            self._left = list(self._cards)
            rng.shuffle(self._left)
        return self._left.pop()


def held_out(question: str) -> bool:
    """Whether this wording of this question is kept for scoring: about one in twelve, by its letters alone."""
    letters = re.sub(r"\W+", "", question.lower())
    return zlib.crc32(letters.encode()) % HELD_OUT_IN == 0


@cache
def table(name: str) -> Any:
    """The parsed tables/<name>.yaml; treat it as read-only."""
    return yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))


def read_rows(spec: dict[str, str]) -> list[dict[str, str]]:
    """Rows written as "a | b | c" lines under "columns: x | y | z"."""
    columns = [column.strip() for column in spec["columns"].split("|")]
    lines = [line for line in spec["rows"].splitlines() if line.strip()]
    return [dict(zip(columns, (cell.strip() for cell in line.split("|")), strict=True)) for line in lines]


def with_article(noun: str) -> str:
    """ "a cat", "an owl"; a noun that starts with * takes none."""
    if noun.startswith("*"):
        return noun[1:]
    vowel = noun[0] in "aeiouAEIO" or noun.startswith("hour")
    return f"{'an' if vowel else 'a'} {noun}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def fields(row: dict[str, str], language: Language) -> dict[str, str]:
    """What a pattern may use for column x: {x}, {X} (capital letter), {a_x} (article), {A_x}; x_en is x in English."""
    own = {name.removesuffix(f"_{language}"): cell for name, cell in row.items() if name.endswith(f"_{language}")}
    values: dict[str, str] = {}
    for name, cell in {**row, **own}.items():
        values |= {name: cell.lstrip("*"), name.capitalize(): capital(cell.lstrip("*"))}
        values |= {f"a_{name}": with_article(cell), f"A_{name}": capital(with_article(cell))}
    return values
