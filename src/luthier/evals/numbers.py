"""Answers that end in a number (GSM8K and its like): right where the number is, whatever the words before it.

Enters: predictions and references as texts. Leaves: the share that is right, or None where the references are of another kind.
Source: Cobbe et al. 2021 (arXiv:2110.14168): a worked answer ends with "#### 42".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

NUMBER = r"(?:(?<![\w.)])[-+])?[$¥￥€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)"
"""A sign is one only where no number stands before it: 3-4 is a three and a four."""

MARKED = re.compile(rf"####\s*\**\s*({NUMBER})")
BOXED = re.compile(rf"\\boxed\{{\s*({NUMBER})\s*\}}")
ANY = re.compile(NUMBER)


def number_accuracy(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """Percent of predictions whose final number equals the reference's. None unless every reference marks one with ####."""
    wanted = [marked_number(reference) for reference in references]
    if not wanted or None in wanted:
        return None
    right = sum(final_number(prediction) == number for prediction, number in zip(predictions, wanted, strict=True))
    return 100 * right / len(references)


def marked_number(text: str) -> Decimal | None:
    """The number behind the last ####; None where there is none."""
    found = MARKED.findall(text)
    return _plain(found[-1]) if found else None


def final_number(text: str) -> Decimal | None:
    """The number after ####, else in \\boxed{}, else the last one of the text; None where there is none."""
    for pattern in (MARKED, BOXED, ANY):
        if found := pattern.findall(text):
            return _plain(found[-1])
    return None


def _plain(text: str) -> Decimal:
    """ "$1,200.50" -> 1200.50"""
    return Decimal(re.sub(r"[^-+0-9.]", "", text))
