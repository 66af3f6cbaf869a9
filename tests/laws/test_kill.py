"""Law 5 from outside: `kill -9` at random moments, resume, and the bits are those of a training never killed."""

import random
import subprocess
import time

import numpy as np
import pytest

from tests.laws.commands import environment, make_data, numbers, run, tensors, train_command

JOBS = {
    "sft-lora": {"stage": "sft", "finetuning_type": "lora"},
    "sft-full": {"stage": "sft", "finetuning_type": "full", "optim": "adamw_torch"},
    "sft-freeze": {"stage": "sft", "finetuning_type": "freeze"},
    "pt-lora": {"stage": "pt", "finetuning_type": "lora", "cutoff_len": 64, "per_device_train_batch_size": 1},
    "sft-streaming": {
        "stage": "sft",
        "finetuning_type": "lora",
        "streaming": True,
        "buffer_size": 12,
        "preprocessing_batch_size": 5,
        "max_steps": 24,
        "packing": False,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_killed_and_resumed_equals_never_killed(job, assets, tmp_path):
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    done = run(train_command(model, data, tmp_path / "whole", **JOBS[job]))
    assert done.returncode == 0, done.stderr
    generator = random.Random(job)
    command = train_command(model, data, tmp_path / "killed", resume_from_checkpoint="auto", **JOBS[job])
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        metrics = tmp_path / "killed" / "metrics.jsonl"
        rows = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and len(metrics.read_text().splitlines()) > rows + 1:
                break
            time.sleep(0.02)
        time.sleep(generator.random() * 0.5)
        process.kill()
        process.wait()
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
    expected, found = tensors(tmp_path / "whole"), tensors(tmp_path / "killed")
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
