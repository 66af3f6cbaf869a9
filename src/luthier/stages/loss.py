"""The losses of single tokens as small functions of log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.types import Batch, LossOutput

if TYPE_CHECKING:
    from torch import Tensor

    from luthier.models.score import Scorer

EAFT_TOP = 20
EAFT_SCALE = 3.0
"""About log 20, the largest entropy of 20 tokens."""


def nll_output(scorer: Scorer, batch: Batch, smoothing: float = 0.0) -> LossOutput:
    """Sum over the supervised tokens of -weight * log p(token), in nats; metrics: accuracy of the likeliest token."""
    logps_N, hits_N = scorer(batch, smoothing)
    return _output(-logps_N, hits_N, batch)


def dft_output(scorer: Scorer, batch: Batch) -> LossOutput:
    """-p log p, with p held fixed: eq. 9 of Wu et al. 2025, arXiv:2508.05629."""
    logps_N, hits_N = scorer(batch)
    return _output(-logps_N.detach().exp() * logps_N, hits_N, batch)


def eaft_output(scorer: Scorer, batch: Batch, alpha: float) -> LossOutput:
    """-(H / 3)^alpha log p, with H the entropy of the 20 likeliest tokens, held fixed: what the model is sure of is left alone.

    Entropy-adaptive fine-tuning, with LLaMA-Factory's constants.
    """
    states_NH = scorer.hidden(batch)[batch.positions]
    logps_N, hits_N = scorer.logps(states_NH, batch.targets)
    weight_N = (scorer.top_entropy(states_NH.detach(), EAFT_TOP) / EAFT_SCALE) ** alpha
    return _output(-weight_N * logps_N, hits_N, batch)


def asft_output(scorer: Scorer, batch: Batch, alpha: float) -> LossOutput:
    """DFT plus alpha KL(reference || policy) over the whole vocabulary at every supervised position."""
    states_NH = scorer.hidden(batch)[batch.positions]
    logps_N, hits_N = scorer.logps(states_NH, batch.targets)
    kl_N = scorer.divergence(states_NH, scorer.reference, batch)
    return _output(alpha * kl_N - logps_N.detach().exp() * logps_N, hits_N, batch)


def _output(loss_N: Tensor, hits_N: Tensor, batch: Batch) -> LossOutput:
    weighted_N = loss_N if batch.weights is None else loss_N * batch.weights
    return LossOutput(total=weighted_N.sum(), metrics={"accuracy": (hits_N.sum().detach(), len(hits_N))})
