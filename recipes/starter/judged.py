"""Example datasets for preferences, ratings and rewards (data/), made of everyday questions that already have their answers.

A bad answer is the right answer to another question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
PAIRS = 120
SUM_QUESTIONS = ("Give me the sum of {a} and {b}.", "{a}和{b}的和是多少？")
"""Wordings that the starter was never taught: it knows these sums, and has to find out that they are asked for."""


def preference_rows(rows: Sequence[Row]) -> list[Row]:
    """The first questions with their own answer as the better one."""
    asked = _plain(rows)[: 2 * PAIRS]
    return [
        {"instruction": row["instruction"], "chosen": row["output"], "rejected": _other(asked, number, 37)}
        for number, row in enumerate(asked[:PAIRS])
    ]


def rated_rows(rows: Sequence[Row]) -> list[Row]:
    """The next questions, every second one with a bad answer."""
    asked = _plain(rows)[: 2 * PAIRS]
    out = []
    for number, row in enumerate(asked[PAIRS:]):
        good = number % 2 == 0
        answer = row["output"] if good else _other(asked, number + PAIRS, 61)
        out.append({"instruction": row["instruction"], "output": answer, "label": good})
    return out


def sum_rows(seed: int) -> list[Row]:
    """Every sum of two digits in every wording, shuffled; the output is the number alone, which a reward can look for."""
    rows = [
        {"instruction": question.format(a=a, b=b), "output": str(a + b)}
        for a in range(10)
        for b in range(10)
        for question in SUM_QUESTIONS
    ]
    random.Random(seed).shuffle(rows)
    return rows


def _plain(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row["input"]]


def _other(rows: Sequence[Row], number: int, distance: int) -> str:
    """The answer of another question that differs from this one's."""
    turned = [rows[(number + distance + step) % len(rows)]["output"] for step in range(len(rows))]
    return next(answer for answer in turned if answer != rows[number]["output"])
