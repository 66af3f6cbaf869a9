"""KTO (Ethayarajh et al. 2024, arXiv:2402.01306): learning from single answers that were found good or bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from luthier.config import Config
from luthier.stages.answers import encode_rated
from luthier.stages.base import StageDefaults
from luthier.stages.sums import answer_lengths, answer_sums
from luthier.types import Batch, Encoded, LossOutput, Rated

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class KahnemanTversky(StageDefaults):
    """Rated -> its own segment, and one of its prompt with another sample's answer (batches/mismatched.py).

    z = max(0, mean over the step of log p - log q of the mismatched segments) is where gains turn into losses; it is the
    mean over the whole optimizer step, so that neither micro-batches nor devices change it.
    """

    name = "kto"
    sample = Rated
    unit = "sample"
    needs_reference = True
    looks_ahead = True

    def __init__(self, config: Config):
        self._config = config
        self._baseline = 0.0

    def encode(self, samples: Sequence[Rated], template: Template) -> list[list[Encoded]]:
        return encode_rated(self._config, samples, template)

    def look_ahead(self, scorer: Scorer, batch: Batch) -> Mapping[str, tuple[Tensor, float]]:
        mismatched = batch.parts(1)
        ratio_N = scorer(mismatched)[0] - scorer.reference(mismatched)
        return {"kl": (ratio_N.sum(), float(mismatched.num_segments))}

    def begin_step(self, seen: Mapping[str, float]) -> None:
        self._baseline = max(0.0, seen["kl"])

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        config = self._config
        own = batch.parts(0)
        logps_N, _ = scorer(own)
        policy_B = answer_sums(logps_N, own)
        ratio_B = policy_B - answer_sums(scorer.reference(own), own)
        good_B = own.values > 0.5
        loss_B = kto_loss(
            ratio_B,
            good_B,
            self._baseline,
            beta=config.pref_beta,
            chosen_weight=config.kto_chosen_weight,
            rejected_weight=config.kto_rejected_weight,
        )
        if config.pref_ftx:
            loss_B = loss_B - config.pref_ftx * good_B * policy_B / answer_lengths(own)
        return LossOutput(total=loss_B.sum(), metrics=self._metrics(policy_B.detach(), ratio_B.detach(), good_B))

    def finish_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """The margin is a difference of means over different samples."""
        if "rewards/chosen" not in means or "rewards/rejected" not in means:
            return dict(means)
        return {**means, "rewards/margins": means["rewards/chosen"] - means["rewards/rejected"]}

    def _metrics(self, policy_B: Tensor, ratio_B: Tensor, good_B: Tensor) -> dict[str, tuple[Tensor | float, Tensor | float]]:
        metrics: dict[str, tuple[Tensor | float, Tensor | float]] = {"kl": (self._baseline * len(good_B), float(len(good_B)))}
        for name, chosen_B in (("chosen", good_B), ("rejected", ~good_B)):
            metrics[f"rewards/{name}"] = (self._config.pref_beta * ratio_B[chosen_B].sum(), chosen_B.sum())
            metrics[f"logps/{name}"] = (policy_B[chosen_B].sum(), chosen_B.sum())
        return metrics


def kto_loss(
    ratio_B: Tensor, good_B: Tensor, baseline: float, *, beta: float, chosen_weight: float, rejected_weight: float
) -> Tensor:
    """Eq. 8 of arXiv:2402.01306, of each sample, shape (B,): w (1 - s(beta (ratio - z))) of a good answer, w (1 - s(beta (z -
    ratio))) of a bad one.

    ratio_B: log p - log q summed over the answer.  good_B: bool.  baseline: z, at least 0.
    """
    gain_B = torch.where(good_B, ratio_B - baseline, baseline - ratio_B)
    weight_B = torch.where(good_B, chosen_weight, rejected_weight)
    return weight_B * (1 - torch.sigmoid(beta * gain_B))
