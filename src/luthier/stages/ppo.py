"""PPO (Schulman et al. 2017, arXiv:1707.06347; Ouyang et al. 2022, arXiv:2203.02155): rewards at the end of an answer, a value
head that says what is to be expected, and a pull to the reference that adapts itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from luthier.config import Config
from luthier.stages.base import StageDefaults
from luthier.stages.grpo import clipped_loss
from luthier.stages.prompts import encode_prompts
from luthier.types import Batch, Encoded, LossOutput, Prompt

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template

GAMMA, LAMBDA = 1.0, 0.95
CLIP, CLIP_VALUE, VALUE_WEIGHT = 0.2, 0.2, 0.1
FIRST_KL_WEIGHT, KL_HORIZON = 0.2, 10_000


class ProximalPolicy(StageDefaults):
    """Prompt -> answers drawn from the model itself, with notes of each of their tokens: old_logps, old_values, advantages,
    returns. The loss is the mean over tokens of the clipped policy loss and VALUE_WEIGHT times the clipped value loss.

    kl_weight: what a nat away from the reference costs; it follows ppo_target from round to round, and is saved.
    """

    name = "ppo"
    sample = Prompt
    goal = "reward"
    unit = "token"
    needs_reference = True
    needs_head = True

    def __init__(self, config: Config):
        self._config = config
        self.kl_weight = FIRST_KL_WEIGHT

    def encode(self, samples: Sequence[Prompt], template: Template) -> list[list[Encoded]]:
        return encode_prompts(self._config, samples, template)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        states_NH = scorer.hidden(batch)[batch.positions]
        logps_N, _ = scorer.logps(states_NH, batch.targets)
        values_N = scorer.head(states_NH)
        notes = batch.notes
        policy_N, clipped_N = clipped_loss(logps_N - notes["old_logps"], notes["advantages"], CLIP, CLIP)
        near_N = notes["old_values"] + (values_N - notes["old_values"]).clamp(-CLIP_VALUE, CLIP_VALUE)
        value_N = 0.5 * torch.maximum((values_N - notes["returns"]) ** 2, (near_N - notes["returns"]) ** 2)
        count = float(len(logps_N))
        metrics = {
            "policy_loss": (policy_N.detach().sum(), count),
            "value_loss": (value_N.detach().sum(), count),
            "clip_ratio": (clipped_N.sum(), count),
        }
        return LossOutput(total=(policy_N + VALUE_WEIGHT * value_N).sum(), metrics=metrics)

    def follow(self, kl: float, answers: int) -> None:
        """After a round of so many answers whose mean distance from the reference was kl nats.

        Section 2.2 of Ziegler et al. 2019, arXiv:1909.08593.
        """
        error = float(np.clip(kl / self._config.ppo_target - 1, -0.2, 0.2))
        self.kl_weight *= 1 + error * answers / KL_HORIZON

    def state(self) -> dict[str, float]:
        return {"kl_weight": self.kl_weight}

    def restore(self, state: Mapping[str, float]) -> None:
        self.kl_weight = state["kl_weight"]


def token_rewards(logps: np.ndarray, reference: np.ndarray, score: float, kl_weight: float) -> np.ndarray:
    """-kl_weight (log p - log q) at each token of an answer, and the score at the last, (T,)."""
    rewards = -kl_weight * (logps - reference)
    rewards[-1] += score
    return rewards


def estimate_advantages(rewards: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Generalised advantage estimation of one answer, (T,): A_t = sum of (gamma lambda)^k delta_(t+k), with delta_t = r_t +
    gamma V_(t+1) - V_t and nothing after the end. Eq. 16 of Schulman et al. 2015, arXiv:1506.02438."""
    advantages = np.zeros_like(rewards)
    ahead = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        following = values[t + 1] if t + 1 < len(values) else 0.0
        ahead = rewards[t] + GAMMA * following - values[t] + GAMMA * LAMBDA * ahead
        advantages[t] = ahead
    return advantages


def whitened(arrays: Sequence[np.ndarray], *, centred: bool = True) -> list[np.ndarray]:
    """All numbers together to standard deviation 1; centred: and mean 0."""
    flat = np.concatenate(list(arrays))
    mean, scale = flat.mean(), 1 / np.sqrt(flat.var() + 1e-8)
    return [(array - mean) * scale + (0.0 if centred else mean) for array in arrays]
