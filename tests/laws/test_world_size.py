"""Law 3 across processes: two ranks over gloo give the loss curve of one."""

import sys

import numpy as np
import pytest

from tests.laws.commands import make_data, numbers, run, tensors, train_command


@pytest.mark.slow
@pytest.mark.parametrize("finetuning_type", ["lora", "full"])
def test_two_ranks_train_as_one(finetuning_type, assets, tmp_path):
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    keys = {"finetuning_type": finetuning_type, "lora_dropout": 0.0, "packing": False}
    one = run(train_command(model, data, tmp_path / "one", **keys, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    command = train_command(model, data, tmp_path / "two", **keys, gradient_accumulation_steps=1)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command[1:]]
    two = run(launch)
    assert two.returncode == 0, two.stderr
    for alone, together in zip(numbers(tmp_path / "one"), numbers(tmp_path / "two"), strict=True):
        for key in ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_seen"):
            if key in alone:
                assert together[key] == pytest.approx(alone[key], abs=2e-5, rel=2e-5), key
    expected, found = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert all(np.allclose(expected[name], found[name], atol=1e-4) for name in expected)
