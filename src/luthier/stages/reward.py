"""Reward modelling: a head on the last token of an answer learns to score the better answer higher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from luthier.config import Config
from luthier.stages.answers import encode_pairs
from luthier.stages.base import StageDefaults
from luthier.types import Batch, Encoded, LossOutput, Preference

if TYPE_CHECKING:
    from torch import Tensor

    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class RewardModelling(StageDefaults):
    """Preference -> two segments; the loss is the mean over pairs of -log s(r_chosen - r_rejected).

    Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1. accuracy: the share of pairs in the right order.
    """

    name = "rm"
    sample = Preference
    unit = "sample"
    needs_head = True

    def __init__(self, config: Config):
        self._config = config

    def encode(self, samples: Sequence[Preference], template: Template) -> list[list[Encoded]]:
        return encode_pairs(self._config, samples, template)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        scores_S = end_scores(scorer, batch)
        chosen_B, rejected_B = scores_S[::2], scores_S[1::2]
        loss_B = -F.logsigmoid(chosen_B - rejected_B)
        chosen, rejected, count = chosen_B.detach(), rejected_B.detach(), float(len(loss_B))
        metrics = {
            "accuracy": ((chosen > rejected).sum(), count),
            "rewards/chosen": (chosen.sum(), count),
            "rewards/rejected": (rejected.sum(), count),
            "rewards/margins": ((chosen - rejected).sum(), count),
        }
        return LossOutput(total=loss_B.sum(), metrics=metrics)


def end_scores(scorer: Scorer, batch: Batch) -> Tensor:
    """The head's number at the last token of each segment, shape (S,) float32."""
    ends_S = torch.tensor(batch.segment_lengths, device=batch.input_ids.device).cumsum(0) - 1
    return scorer.head(scorer.hidden(batch)[ends_S])
