"""GRPO (Shao et al. 2024, arXiv:2402.03300) and its kin: answers to one prompt are judged against one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from luthier.config import Config
from luthier.stages.base import StageDefaults
from luthier.stages.prompts import encode_prompts
from luthier.stages.sums import answer_lengths, answer_sums
from luthier.types import Batch, Encoded, LossOutput, Prompt

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class GroupRelative(StageDefaults):
    """Prompt -> answers drawn from the model itself; Batch.values are their advantages, Batch.notes["old_logps"] what the model
    said of their tokens when it drew them (absent where the answers are used once: then it is what it says now).

    grpo_loss: how tokens are weighted.
        grpo     mean over answers of the mean over their tokens
        dapo     mean over all tokens of the step (Yu et al. 2025, arXiv:2503.14476)
        dr_grpo  mean over answers of the sum over their tokens / max_new_tokens (Liu et al. 2025, arXiv:2503.20783)
        gspo     as grpo, with the ratio of whole answers (Zheng et al. 2025, arXiv:2507.18071)
    """

    name = "grpo"
    sample = Prompt
    goal = "reward"

    def __init__(self, config: Config):
        self._config = config
        self.needs_reference = config.grpo_beta > 0
        self.unit = "token" if config.grpo_loss == "dapo" else "sample"

    def encode(self, samples: Sequence[Prompt], template: Template) -> list[list[Encoded]]:
        return encode_prompts(self._config, samples, template)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        config = self._config
        logps_N, _ = scorer(batch)
        old_N = batch.notes.get("old_logps", logps_N.detach())
        log_ratio_N = logps_N - old_N
        if config.grpo_loss == "gspo":
            log_ratio_N = (answer_sums(log_ratio_N, batch) / answer_lengths(batch))[batch.segment_ids]
        high = config.grpo_epsilon if config.grpo_epsilon_high is None else config.grpo_epsilon_high
        loss_N, clipped_N = clipped_loss(log_ratio_N, batch.values[batch.segment_ids], config.grpo_epsilon, high)
        count = float(len(logps_N))
        metrics: dict[str, tuple[Tensor | float, Tensor | float]] = {"clip_ratio": (clipped_N.sum(), count)}
        if config.grpo_beta:
            kl_N = k3(logps_N, scorer.reference(batch))
            loss_N = loss_N + config.grpo_beta * kl_N
            metrics["kl"] = (kl_N.detach().sum(), count)
        return LossOutput(total=self._added_up(loss_N, batch), metrics=metrics)

    def _added_up(self, loss_N: Tensor, batch: Batch) -> Tensor:
        if self._config.grpo_loss == "dapo":
            return loss_N.sum()
        if self._config.grpo_loss == "dr_grpo":
            return loss_N.sum() / self._config.max_new_tokens
        return (answer_sums(loss_N, batch) / answer_lengths(batch)).sum()


def clipped_loss(log_ratio_N: Tensor, advantage_N: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """-min(r A, clip(r, 1 - low, 1 + high) A) of each token, r = exp(log_ratio), and where clipping took effect; both (N,).

    Eq. 7 of Schulman et al. 2017, arXiv:1707.06347.
    """
    ratio = log_ratio_N.exp()
    free, held = ratio * advantage_N, ratio.clamp(1 - low, 1 + high) * advantage_N
    return -torch.minimum(free, held), (held < free).detach()


def k3(logps_N: Tensor, reference_N: Tensor) -> Tensor:
    """Schulman's unbiased estimate of KL(policy || reference) at each token: q/p - log(q/p) - 1, (N,)."""
    difference = reference_N - logps_N
    return difference.exp() - difference - 1


def group_advantages(rewards: np.ndarray, num_generations: int, *, scaled: bool) -> np.ndarray:
    """Rewards less the mean of their group; scaled: divided by its standard deviation (plus 1e-4). float32, as rewards.

    rewards: groups lie end to end.  A group whose rewards are all the same teaches nothing: all 0.
    """
    groups = rewards.reshape(-1, num_generations)
    advantages = groups - groups.mean(1, keepdims=True)
    if scaled:
        advantages = advantages / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
    return advantages.reshape(-1).astype(np.float32)
