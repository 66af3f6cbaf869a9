"""What the rewards of a training on its own answers say: did they rise, and was there anything to tell answers apart by?

What enters: rows of metrics with "reward". What leaves: a Reading. The loss of such a stage says nothing: it is near 0 always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from luthier.trainer.reading import Reading, say

ALIKE = 0.9
"""From this share of groups whose answers all earn the same, there is hardly anything to learn from."""
RISE = 2.0
"""A difference of so many standard errors of the mean counts as a change."""


def read_rewards(rows: Sequence[Mapping[str, Any]]) -> Reading:
    """rows: in order; those without "reward" are passed over, and there is at least one with it."""
    rewards = np.array([row["reward"] for row in rows if "reward" in row], float)
    alike = [row["frac_reward_zero_std"] for row in rows if "frac_reward_zero_std" in row]
    third = max(1, len(rewards) // 3)
    first, last = rewards[:third], rewards[-third:]
    numbers = {"first": first.mean(), "last": last.mean(), "best": rewards.max()}
    if alike and float(np.mean(alike)) > ALIKE:
        return say("rewards_alike", {"share_percent": 100 * float(np.mean(alike)), **numbers})
    error = np.sqrt(first.var() / third + last.var() / third) + 1e-12
    change = (last.mean() - first.mean()) / error
    return say("rewards_rise" if change > RISE else "rewards_fall" if change < -RISE else "rewards_flat", numbers)
