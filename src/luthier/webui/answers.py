"""Predicted answers beside their references, with a likeness for each row, worst first.

Enters: generated_predictions.jsonl of a predict run.  Leaves: rows. The likeness orders rows on a screen; scores to quote are
those of predict_results.json.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from luthier.runs import read_rows

MOST_ROWS = 20_000
GRAM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """likeness: 0 to 100, share of character pairs that answer and reference have in common (F1)."""

    prompt: str
    answer: str
    reference: str
    likeness: float


def read_answers(file: Path) -> list[Answer]:
    """Rows of one file, worst first."""
    found = []
    for row in read_rows(file):
        answer, reference = str(row.get("predict", "")), str(row.get("label", ""))
        found.append(
            Answer(prompt=str(row.get("prompt", "")), answer=answer, reference=reference, likeness=likeness(answer, reference))
        )
        if len(found) == MOST_ROWS:
            break
    return sorted(found, key=lambda one: one.likeness)


def likeness(one: str, other: str) -> float:
    """F1 of character pairs: works in Chinese and English alike, and costs little."""
    one, other = one.strip(), other.strip()
    if one == other:
        return 100.0
    first, second = _pairs(one), _pairs(other)
    common = sum((first & second).values())
    total = sum(first.values()) + sum(second.values())
    return 200.0 * common / total if total else 0.0


def _pairs(text: str) -> Counter[str]:
    return Counter(text[at : at + GRAM] for at in range(max(1, len(text) - GRAM + 1))) if text else Counter()
