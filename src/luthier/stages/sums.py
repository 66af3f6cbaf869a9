"""From single tokens to whole answers: sums over the learned tokens of each segment."""

from __future__ import annotations

from torch import Tensor

from luthier.types import Batch


def answer_sums(logps_N: Tensor, batch: Batch) -> Tensor:
    """The sum of the learned tokens of each segment, shape (S,)."""
    return logps_N.new_zeros(batch.num_segments).index_add(0, batch.segment_ids, logps_N)


def answer_lengths(batch: Batch) -> Tensor:
    """How many learned tokens each segment has, at least 1, float32 of shape (S,)."""
    ones = batch.values.new_ones(len(batch.segment_ids))
    return answer_sums(ones, batch).clamp_min(1.0)


def length_weights(batch: Batch, alpha: float) -> Tensor:
    """LD-DPO (Liu et al. 2024, arXiv:2409.06411): 1 for the tokens up to the length of the shorter answer of the pair, alpha
    for those beyond it. Shape (N,)."""
    lengths_S = answer_lengths(batch).long()
    shared_S = lengths_S.view(-1, 2).amin(1).repeat_interleave(2)
    first_S = lengths_S.cumsum(0) - lengths_S
    numbers_N = batch.segment_ids.new_ones(len(batch.segment_ids)).cumsum(0) - 1
    place_N = numbers_N - first_S[batch.segment_ids]
    beyond_N = (place_N >= shared_S[batch.segment_ids]).to(batch.values.dtype)
    return 1.0 + (alpha - 1.0) * beyond_N
