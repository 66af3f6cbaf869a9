"""The losses as small functions of log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.types import Batch, LossOutput

if TYPE_CHECKING:
    from luthier.models.score import Scorer


def nll_output(scorer: Scorer, batch: Batch, smoothing: float = 0.0) -> LossOutput:
    """Sum over the supervised tokens of -weight * log p(token), in nats; metrics: accuracy of the likeliest token."""
    logps_N, hits_N = scorer(batch, smoothing)
    weighted_N = logps_N if batch.weights is None else logps_N * batch.weights
    return LossOutput(total=-weighted_N.sum(), metrics={"accuracy": (hits_N.sum().detach(), len(hits_N))})
