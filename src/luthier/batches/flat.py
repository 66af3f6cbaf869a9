"""Many encoded samples as a few flat arrays: how they travel between processes and lie on disk.

Enters: (input number, Encoded) pairs. Leaves: Flat. Copies each token once, and never needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """Samples end to end.

    ids: int32 (tokens).  learned: bool (tokens).  weights: float32 (tokens), None where all are 1.
    segment_lengths: int64 (segments).  values: float32 (samples).  rows: int64 (samples), the input each was made of.
    """

    ids: np.ndarray
    learned: np.ndarray
    weights: np.ndarray | None
    segment_lengths: np.ndarray
    values: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def segments_per_sample(self) -> int:
        return len(self.segment_lengths) // len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample, int64 (samples)."""
        return self.segment_lengths.reshape(len(self), -1).sum(axis=1)

    @property
    def supervised(self) -> np.ndarray:
        """Learned tokens of each sample, int64 (samples); nothing stands before the first of a segment to predict it from."""
        predicted = self.learned.copy()
        ends = np.cumsum(self.segment_lengths)
        predicted[(ends - self.segment_lengths)[self.segment_lengths > 0]] = False
        up_to = np.concatenate([[0], np.cumsum(predicted)])
        return np.diff(up_to[np.append(0, ends)]).reshape(len(self), -1).sum(axis=1)


def flat(pairs: Sequence[tuple[int, Encoded]]) -> Flat:
    """At least one pair. Raises DataError where samples differ in their number of segments."""
    counts = {len(item.segments) for _, item in pairs}
    if len(counts) > 1:
        raise DataError(f"samples of {' and '.join(map(str, sorted(counts)))} segments cannot share a batch.")
    segments = [segment for _, item in pairs for segment in item.segments]
    weighted = any(segment.weights is not None for segment in segments)
    weights = [np.ones(s.num_tokens, np.float32) if s.weights is None else s.weights for s in segments] if weighted else None
    return Flat(
        ids=np.concatenate([segment.input_ids for segment in segments]).astype(np.int32, copy=False),
        learned=np.concatenate([segment.labels for segment in segments]) != IGNORE_INDEX,
        weights=None if weights is None else np.concatenate(weights).astype(np.float32, copy=False),
        segment_lengths=np.array([segment.num_tokens for segment in segments], np.int64),
        values=np.array([item.value for _, item in pairs], np.float32),
        rows=np.array([row for row, _ in pairs], np.int64),
    )
