"""Learning from preferences: DPO and its kin. Chosen and rejected answer are two segments of one pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from luthier.config import Config
from luthier.stages.answers import encode_pairs
from luthier.stages.base import StageDefaults
from luthier.stages.pair_losses import LOOKING_AHEAD, LOSSES, WITHOUT_REFERENCE, Pairs, Strength, bco
from luthier.stages.sums import answer_lengths, answer_sums, length_weights
from luthier.types import Batch, Encoded, LossOutput, Preference

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class DirectPreference(StageDefaults):
    """Preference -> two segments; the loss is the mean over pairs of the weighted pref_loss, plus pref_ftx times the mean
    negative log-probability of the chosen answer's tokens, mixed with the classifier loss of pref_bco_weight."""

    name = "dpo"
    sample = Preference
    unit = "sample"

    def __init__(self, config: Config):
        self._config = config
        names = config.pref_loss
        weights = config.pref_loss_weights or [1.0] * len(names)
        self._losses = [(LOSSES[name], weight) for name, weight in zip(names, weights, strict=True)]
        self.needs_reference = bool(set(names) - WITHOUT_REFERENCE) or config.pref_bco_weight > 0
        self.looks_ahead = bool(set(names) & LOOKING_AHEAD) or config.pref_bco_weight > 0
        self._seen: Mapping[str, float] = {}

    def encode(self, samples: Sequence[Preference], template: Template) -> list[list[Encoded]]:
        return encode_pairs(self._config, samples, template)

    def look_ahead(self, scorer: Scorer, batch: Batch) -> Mapping[str, tuple[Tensor, float]]:
        pairs = self._pairs(scorer(batch)[0], scorer, batch)
        count = float(len(pairs.chosen))
        return {"chosen_ratio": (pairs.chosen_ratio.sum(), count), "rejected_ratio": (pairs.rejected_ratio.sum(), count)}

    def begin_step(self, seen: Mapping[str, float]) -> None:
        self._seen = seen

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        config = self._config
        logps_N, _ = scorer(batch)
        pairs = self._pairs(logps_N, scorer, batch)
        strength = Strength(
            beta=config.pref_beta, smoothing=config.dpo_label_smoothing, gamma=config.simpo_gamma, seen=self._seen
        )
        loss_B = sum(weight * loss(pairs, strength) for loss, weight in self._losses)
        if config.pref_bco_weight:
            loss_B = (loss_B + config.pref_bco_weight * bco(pairs, strength)) / (1 + config.pref_bco_weight)
        if config.pref_ftx:
            plain_S = answer_sums(logps_N, batch)
            loss_B = loss_B - config.pref_ftx * plain_S[::2] / pairs.chosen_len
        return LossOutput(total=loss_B.sum(), metrics=self._metrics(pairs))

    def _pairs(self, logps_N: Tensor, scorer: Scorer, batch: Batch) -> Pairs:
        factor = 1.0 if self._config.ld_alpha is None else length_weights(batch, self._config.ld_alpha)
        policy_S, lengths_S = answer_sums(logps_N * factor, batch), answer_lengths(batch)
        if self.needs_reference:
            reference_S = answer_sums(scorer.reference(batch) * factor, batch)
        else:
            reference_S = torch.zeros_like(policy_S)
        return Pairs(
            chosen=policy_S[::2],
            rejected=policy_S[1::2],
            chosen_ref=reference_S[::2],
            rejected_ref=reference_S[1::2],
            chosen_len=lengths_S[::2],
            rejected_len=lengths_S[1::2],
        )

    def _metrics(self, pairs: Pairs) -> dict[str, tuple[Tensor, float]]:
        """Rewards are beta times the log-ratio; where there is no reference, beta times the log-probability a token (for cpo of
        the whole answer), as users of each loss know them."""
        beta = self._config.pref_beta
        if self.needs_reference or self._config.pref_loss == ["cpo"]:
            chosen, rejected = beta * pairs.chosen_ratio.detach(), beta * pairs.rejected_ratio.detach()
        else:
            chosen = beta * pairs.chosen.detach() / pairs.chosen_len
            rejected = beta * pairs.rejected.detach() / pairs.rejected_len
        count = float(len(chosen))
        return {
            "rewards/chosen": (chosen.sum(), count),
            "rewards/rejected": (rejected.sum(), count),
            "rewards/accuracies": ((chosen > rejected).sum(), count),
            "rewards/margins": ((chosen - rejected).sum(), count),
            "logps/chosen": (pairs.chosen.detach().sum(), count),
            "logps/rejected": (pairs.rejected.detach().sum(), count),
        }
