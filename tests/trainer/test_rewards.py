"""What rewards say."""

import pytest

from luthier.trainer.rewards import read_rewards


def rows(rewards, alike=0.2):
    return [{"step": n, "loss": 0.0, "reward": reward, "frac_reward_zero_std": alike} for n, reward in enumerate(rewards)]


@pytest.mark.parametrize(
    ("rewards", "alike", "rule"),
    [
        ([0.1, 0.12, 0.11, 0.4, 0.5, 0.6, 0.8, 0.9, 0.85], 0.2, "rewards_rise"),
        ([0.1, 0.3, 0.2, 0.2, 0.1, 0.3, 0.3, 0.1, 0.2], 0.2, "rewards_flat"),
        ([0.8, 0.81, 0.79, 0.5, 0.4, 0.3, 0.1, 0.12, 0.1], 0.2, "rewards_fall"),
        ([0.0] * 9, 1.0, "rewards_alike"),
        ([0.3], 0.0, "rewards_flat"),
    ],
)
def test_rules(rewards, alike, rule):
    reading = read_rewards([{"step": 0, "eval_loss": 1.0}, *rows(rewards, alike)])
    assert reading.rule == rule
    assert "{" not in reading.en + reading.zh and reading.zh
