"""Encoded rows as the benchmarks pass them around, a JSONL file of {"input_ids", "labels"}, and whether two are equal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

IGNORE = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    input_ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """Tokens that are learned; the first cannot be, nothing stands before it."""
        return sum(label != IGNORE for label in self.labels[1:])


def read_tokens(path: Path) -> list[TokenRow]:
    with path.open(encoding="utf-8") as lines:
        return [TokenRow(**json.loads(line)) for line in lines]


def write_tokens(path: Path, rows: list[TokenRow]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({"input_ids": row.input_ids, "labels": row.labels}) + "\n")


def count_tokens(rows: list[TokenRow]) -> int:
    return sum(len(row.input_ids) for row in rows)


def count_supervised(rows: list[TokenRow]) -> int:
    return sum(row.supervised for row in rows)


def first_difference(ours: list[TokenRow], theirs: list[TokenRow]) -> str | None:
    """None where all rows are the same work; else one sentence about the first that is not.

    The ids must be equal. The labels too, but for what the peer learns after an end-of-turn (see tail_labels).
    """
    if len(ours) != len(theirs):
        return f"{len(ours)} rows against {len(theirs)}"
    for number, (a, b) in enumerate(zip(ours, theirs), start=1):
        if a.input_ids != b.input_ids:
            return f"row {number}: ids differ from token {_where(a.input_ids, b.input_ids)} on"
        if _without_tails(a, b) != a.labels:
            return f"row {number}: labels differ from token {_where(a.labels, b.labels)} on"
    return None


def tail_labels(ours: list[TokenRow], theirs: list[TokenRow]) -> int:
    """Tokens that the peer learns and we do not: what the template writes right after an end-of-turn (a newline in ChatML).

    Nothing ever stops on it and the next turn brings it anyway, so Luthier leaves it out; it is not counted as a difference.
    """
    return count_supervised(theirs) - count_supervised(ours)


def _without_tails(ours: TokenRow, theirs: TokenRow) -> list[int]:
    """The peer's labels without any one token that stands right after a token that we learn and that we do not learn."""
    return [
        IGNORE if i and ours.labels[i] == IGNORE and ours.labels[i - 1] != IGNORE else label
        for i, label in enumerate(theirs.labels)
    ]


def _where(left: list[int], right: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(left, right)) if x != y), min(len(left), len(right)))
