"""Samples to one Batch: segments end to end, no padding, logits wanted only where something is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from luthier.batches.views import Tokens
from luthier.types import IGNORE_INDEX, Batch


def collate(store: Tokens, samples: Sequence[int], device: torch.device | str = "cpu") -> Batch:
    """The given samples, in order, as a Batch on device.

    >>> # segments [a b c] and [d e]: position_ids [0 1 2 0 1]; with c and e learned: positions [1 3], targets [c e]
    """
    segments = [segment for sample in samples for segment in store.segments(sample)]
    lengths = [segment.num_tokens for segment in segments]
    labels = np.concatenate([segment.labels for segment in segments])
    starts = np.cumsum([0, *lengths[:-1]])
    learned = labels != IGNORE_INDEX
    learned[starts] = False  # nothing stands before the first token to predict it from
    at = np.flatnonzero(learned)
    weights = None
    if any(segment.weights is not None for segment in segments):
        weights = np.concatenate([np.ones(s.num_tokens, np.float32) if s.weights is None else s.weights for s in segments])[at]

    def tensor(array: np.ndarray, dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype).to(device, non_blocking=True)

    return Batch(
        input_ids=tensor(np.concatenate([segment.input_ids for segment in segments]))[None],
        position_ids=tensor(np.concatenate([np.arange(n) for n in lengths]))[None],
        segment_lengths=tuple(lengths),
        positions=tensor(at - 1),
        targets=tensor(labels[at]),
        segment_ids=tensor(np.repeat(np.arange(len(lengths)), lengths)[at]),
        values=tensor(store.values[np.asarray(samples)], torch.float32),
        weights=None if weights is None else tensor(weights, torch.float32),
        segments_per_sample=store.segments_per_sample,
    )
