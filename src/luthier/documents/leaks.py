"""Does a split know what another one asks? Exact and near-duplicate rows that stand on both sides.

Enters: rows as (id, split, question, answer), as often as they are asked for. Leaves: leaks, each with both ids. An export
with a leak is refused. Only the held-out rows are kept in memory; the rows of train stream by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from luthier.documents.dedup import SAME_QUESTION, band_keys, cross_pairs, normal, particulars

NEAR = 0.8
LONG_ANSWER = 60
BATCH = 2048


class Leak(NamedTuple):
    left: str
    right: str
    splits: tuple[str, str]
    similarity: float


Row = tuple[str, str, str, str]


def find_leaks(rows: Callable[[], Iterable[Row]]) -> list[Leak]:
    """Rows of different splits that are near-duplicates, ask the same question, or give the same long answer.

    A short answer that two questions share ("Yes.") is no leak.
    """
    held = [row for row in rows() if row[1] != "train"]
    if not held:
        return []
    both, asked = [f"{row[2]}\n{row[3]}" for row in held], [row[2] for row in held]
    both_keys, asked_keys = band_keys(both), band_keys(asked)
    said: dict[str, list[int]] = {}
    for at, row in enumerate(held):
        said.setdefault(normal(row[3]), []).append(at)
    leaks: dict[tuple[str, str], Leak] = {}
    for batch in _batches(rows(), BATCH):
        found = list(cross_pairs(both, both_keys, [f"{row[2]}\n{row[3]}" for row in batch], NEAR))
        for left, right, similarity in cross_pairs(asked, asked_keys, [row[2] for row in batch], SAME_QUESTION):
            if particulars(held[left][2]) == particulars(batch[right][2]):
                found.append((left, right, similarity))
        for right, row in enumerate(batch):
            if len(words := normal(row[3])) >= LONG_ANSWER:
                found += [(left, right, 1.0) for left in said.get(words, ())]
        for left, right, similarity in found:
            one, other = held[left], batch[right]
            if one[1] != other[1]:
                key = (min(one[0], other[0]), max(one[0], other[0]))
                leaks.setdefault(key, Leak(one[0], other[0], (one[1], other[1]), similarity))
    return list(leaks.values())


def _batches(rows: Iterable[Row], size: int) -> Iterator[Sequence[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
