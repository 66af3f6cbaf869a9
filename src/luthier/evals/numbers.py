"""Answers that end in a number (GSM8K and its like): right where the number is, whatever the words before it.

Enters: predictions and references as texts. Leaves: the share that is right, or None where the references are of another kind.
Source: Cobbe et al. 2021 (arXiv:2110.14168): a worked answer ends with "#### 42".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

MARKED = re.compile(r"####\s*([-+]?\$?[\d.,]*\d)")
BOXED = re.compile(r"\\boxed\{\s*([-+]?\$?[\d.,]*\d)\s*\}")
NUMBER = re.compile(r"[-+]?\$?\d[\d,]*(?:\.\d+)?")


def number_accuracy(predictions: Sequence[str], references: Sequence[str]) -> float | None:
    """Percent of predictions whose final number equals the reference's. None unless every reference marks one with ####."""
    wanted = [MARKED.search(reference) for reference in references]
    if not wanted or not all(wanted):
        return None
    right = sum(
        final_number(prediction) == _plain(match[1]) for prediction, match in zip(predictions, wanted, strict=True) if match
    )
    return 100 * right / len(references)


def final_number(text: str) -> Decimal | None:
    """The number after ####, else in \\boxed{}, else the last one of the text; None where there is none."""
    for pattern in (MARKED, BOXED):
        if found := pattern.findall(text):
            return _plain(found[-1])
    found = NUMBER.findall(text)
    return _plain(found[-1]) if found else None


def _plain(text: str) -> Decimal:
    """ "$1,200.50" -> 1200.50"""
    return Decimal(text.replace(",", "").replace("$", ""))
