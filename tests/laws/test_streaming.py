"""Streaming over two ranks: they share each window, and give the curve of one process."""

import sys

import pytest

from tests.laws.commands import make_data, numbers, run, train_command


@pytest.mark.slow
def test_two_ranks_stream_as_one(assets, tmp_path):
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    keys = {"streaming": True, "buffer_size": 10, "preprocessing_batch_size": 5, "max_steps": 15, "packing": False}
    keys |= {"lora_dropout": 0.0}
    one = run(train_command(model, data, tmp_path / "one", **keys, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    command = train_command(model, data, tmp_path / "two", **keys, gradient_accumulation_steps=1)
    two = run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command[1:]])
    assert two.returncode == 0, two.stderr
    for alone, together in zip(numbers(tmp_path / "one"), numbers(tmp_path / "two"), strict=True):
        for key in ("loss", "eval_loss", "grad_norm", "tokens_seen"):
            if key in alone:
                assert together[key] == pytest.approx(alone[key], abs=2e-5, rel=2e-5), key
