"""Distillation: the model learns a teacher's whole distribution at every token of the answers, not only the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.config import Config
from luthier.stages.sft import SupervisedFineTuning
from luthier.types import Batch, LossOutput

if TYPE_CHECKING:
    from luthier.models.score import Scorer


class Distillation(SupervisedFineTuning):
    """Conversation -> one segment, as in sft; the loss is the mean over learned tokens of

        kd_alpha T^2 D(teacher, student; T) + (1 - kd_alpha) (-log p)

    with D the generalised Jensen-Shannon divergence of kd_beta (0 forward KL, 1 reverse KL) at kd_temperature T. Hinton et al.
    2015, arXiv:1503.02531; Agarwal et al. 2023, arXiv:2306.13649.
    """

    name = "kd"

    def __init__(self, config: Config):
        super().__init__(config)
        self.needs_reference = True

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        config = self._config
        states_NH = scorer.hidden(batch)[batch.positions]
        logps_N, hits_N = scorer.logps(states_NH, batch.targets)
        divergence_N = scorer.divergence(
            states_NH, scorer.reference, batch, beta=config.kd_beta, temperature=config.kd_temperature
        )
        loss_N = config.kd_alpha * config.kd_temperature**2 * divergence_N - (1 - config.kd_alpha) * logps_N
        weights = 1.0 if batch.weights is None else batch.weights
        count = float(len(logps_N))
        metrics = {
            "divergence": (divergence_N.detach().sum(), count),
            "nll": (-logps_N.detach().sum(), count),
            "accuracy": (hits_N.sum(), count),
        }
        return LossOutput(total=(loss_N * weights).sum(), metrics=metrics)
