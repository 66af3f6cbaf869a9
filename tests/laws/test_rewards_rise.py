"""GRPO and PPO by their example files: from below 0.3 to above 0.8 of a reward that a rule gives."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.laws.commands import numbers, run

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["grpo", "ppo"])
def test_the_starter_learns_by_reward(stage, tmp_path):
    command = [sys.executable, "-m", "luthier", "train", f"examples/train_{stage}.yaml", f"output_dir={tmp_path}"]
    done = run(command, timeout_s=540, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    rows = numbers(tmp_path)
    curve = [row["reward"] for row in rows if "reward" in row]
    assert len(curve) == rows[-1]["total_steps"]
    assert np.mean(curve[:10]) < 0.3
    assert np.mean(curve[-10:]) > 0.8
    assert [row["eval_reward"] for row in rows if "eval_reward" in row][-1] > 0.8
