"""Law 3 across processes: two ranks over gloo give the loss curve of one."""

import shutil
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
                assert together[key] == pytest.approx(alone[key], abs=1e-5, rel=1e-5), key
    expected, found = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert all(np.allclose(expected[name], found[name], atol=1e-4) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "dataset"), [("dpo", "dpo_en_demo"), ("kto", "kto_en_demo"), ("rm", "dpo_en_demo")])
def test_two_ranks_train_preferences_as_one_and_go_on_as_one(stage, dataset, assets, tmp_path):
    """The curve of one process, by two, by two of which one process takes over after step 3, and by one that two take over."""
    model, data = assets / "models" / "stories260K", assets / "data" / "llamafactory-demo"
    keys = {"stage": stage, "dataset": dataset, "dataset_dir": data, "max_samples": 40, "max_steps": 6, "val_size": 0}
    keys |= {"eval_strategy": "no", "lora_dropout": 0.0, "packing": False, "save_steps": 3, "cutoff_len": 128}

    def command(output, accumulation, **more):
        found = train_command(model, "x", output, **(keys | more), gradient_accumulation_steps=accumulation)
        return [word for word in found if not word.startswith("dataset=x")]

    def two(output, **more):
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            *command(output, 1, **more)[1:],
        ]

    for words in (command(tmp_path / "one", 2), two(tmp_path / "two")):
        done = run(words)
        assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "two", tmp_path / "on")
    shutil.rmtree(tmp_path / "on" / "checkpoints" / "step-6")
    shutil.copytree(tmp_path / "one", tmp_path / "on two")
    shutil.rmtree(tmp_path / "on two" / "checkpoints" / "step-6")
    for words in (
        command(tmp_path / "on", 2, resume_from_checkpoint="true"),
        two(tmp_path / "on two", resume_from_checkpoint="true"),
    ):
        done = run(words)
        assert done.returncode == 0, done.stderr
    for other in ("two", "on", "on two"):
        for alone, row in zip(numbers(tmp_path / "one"), numbers(tmp_path / other), strict=True):
            for key in ("loss", "rewards/margins", "grad_norm"):
                if key in alone:
                    assert row[key] == pytest.approx(alone[key], abs=1e-5 * size(alone, key), rel=1e-5), (other, key)


def size(row, key):
    """How large the numbers are of which a margin is the difference: log-probabilities of whole answers, times beta."""
    parts = [0.1 * abs(row[name]) for name in ("logps/chosen", "logps/rejected") if name in row]
    return max([1.0, *parts]) if key == "rewards/margins" else 1.0
