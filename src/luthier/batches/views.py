"""Ways to look at encoded samples without copying them: some of them, or all laid end to end and cut into blocks.

Enters: a store. Leaves: objects that look like a store to the loader. Tokens are read from disk when a sample is asked for,
so memory grows by a few bytes a sample, never by its tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from luthier.errors import DataError
from luthier.types import Segment


class Tokens(ABC):
    """Encoded samples by number.

    lengths: tokens of each sample (all its segments).  supervised: how many of them are learned.  values: Encoded.value.
    rows: which input each sample was made of (one input may give several).  All of shape (samples,).
    report: what encoding counted (rows, cut tokens ...), as plain JSON.
    """

    lengths: np.ndarray
    supervised: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    segments_per_sample: int
    report: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def segments(self, sample: int) -> list[Segment]:
        """The segments of one sample, read now."""

    def subset(self, samples: np.ndarray) -> EncodedSubset:
        return EncodedSubset(self, samples)

    def wrapped(self, block: int) -> EncodedBlocks:
        return EncodedBlocks(self, block)

    def first(self, count: int) -> EncodedSubset:
        """The samples that were made of the first count inputs."""
        return self.subset(np.flatnonzero(self.rows < count))

    def split(self, held_out: float, seed: int) -> tuple[EncodedSubset, EncodedSubset]:
        """(training, held out): held_out >= 1 is a number of inputs, below 1 a share of them; all samples of one input stay
        together. Raises DataError where nothing would be left to learn from."""
        inputs = np.unique(self.rows)
        count = int(held_out) if held_out >= 1 else max(1, round(len(inputs) * held_out))
        if count >= len(inputs):
            raise DataError(f"val_size {held_out:g} holds out {count} of {len(inputs)} samples.", "Lower val_size.")
        chosen = np.random.Generator(np.random.PCG64(seed)).choice(inputs, count, replace=False)
        out = np.isin(self.rows, chosen)
        return self.subset(np.flatnonzero(~out)), self.subset(np.flatnonzero(out))


class EncodedSubset(Tokens):
    """Some samples of a store, by number, in the given order."""

    def __init__(self, tokens: Tokens, samples: np.ndarray):
        self._tokens = tokens
        self._samples = samples
        self.segments_per_sample = tokens.segments_per_sample
        self.lengths = tokens.lengths[samples]
        self.supervised = tokens.supervised[samples]
        self.values = tokens.values[samples]
        self.rows = tokens.rows[samples]
        self.report = tokens.report

    def segments(self, sample: int) -> list[Segment]:
        return self._tokens.segments(int(self._samples[sample]))


class EncodedBlocks(Tokens):
    """All samples end to end, cut into blocks of `block` tokens whatever the sample borders; the last one may differ.

    For pre-training, where every token is learned. Only for samples of one segment.
    """

    segments_per_sample = 1

    def __init__(self, tokens: Tokens, block: int):
        self._tokens = tokens
        self._ends = np.cumsum(tokens.lengths, dtype=np.int64)  # of the samples, in tokens from the first
        total = int(self._ends[-1]) if len(self._ends) else 0
        starts = np.arange(0, total, block, dtype=np.int64)
        if len(starts) > 1 and total - starts[-1] == 1:
            starts = starts[:-1]  # a lone token would teach nothing
        self._borders = np.append(starts, total)
        self.lengths = np.diff(self._borders)
        self.supervised = self.lengths - 1  # the first token of a block is never predicted
        self.values = np.zeros(len(self.lengths), np.float32)
        self.rows = np.arange(len(self.lengths))
        self.report = tokens.report

    def segments(self, sample: int) -> list[Segment]:
        pieces = list(self._pieces(int(self._borders[sample]), int(self._borders[sample + 1])))
        weighted = any(piece.weights is not None for piece in pieces)
        return [
            Segment(
                input_ids=np.concatenate([piece.input_ids for piece in pieces]),
                labels=np.concatenate([piece.labels for piece in pieces]),
                weights=np.concatenate([_weights(piece) for piece in pieces]) if weighted else None,
            )
        ]

    def _pieces(self, start: int, end: int) -> Iterator[Segment]:
        """What the tokens start .. end (counted over all samples) are made of."""
        sample = int(np.searchsorted(self._ends, start, side="right"))
        while start < end:
            (segment,) = self._tokens.segments(sample)
            first = int(self._ends[sample]) - segment.num_tokens
            stop = min(end, int(self._ends[sample]))
            yield _cut(segment, slice(start - first, stop - first))
            start, sample = stop, sample + 1


def _cut(segment: Segment, part: slice) -> Segment:
    weights = None if segment.weights is None else segment.weights[part]
    return Segment(input_ids=segment.input_ids[part], labels=segment.labels[part], weights=weights)


def _weights(segment: Segment) -> np.ndarray:
    return np.ones(segment.num_tokens, np.float32) if segment.weights is None else segment.weights
