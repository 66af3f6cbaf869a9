"""Law 3 for models in parts, through the command line: two processes with fsdp or deepspeed give the curve of one, and their
checkpoints are gone on from by one process, and one's by two."""

import json
import shutil

import numpy as np
import pytest

from tests.laws.commands import make_data, numbers, run, tensors, train_command
from tests.laws.test_ranks import same_curve

ZERO_2 = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 2,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "allgather_bucket_size": 5e8,
        "round_robin_gradients": True,
    },
}
JOBS = {
    "sft-lora": ({"finetuning_type": "lora"}, {"fsdp": "full_shard auto_wrap"}),
    "sft-qlora": ({"finetuning_type": "lora", "quantization_bit": 4}, {"fsdp": "full_shard auto_wrap offload"}),
    "sft-int8": (  # an evaluation in int8 rounds activations too, and a last bit decides which way
        {"finetuning_type": "lora", "quantization_bit": 8, "eval_strategy": "no", "val_size": 0},
        {"deepspeed": "zero.json"},
    ),
    "sft-full": ({"finetuning_type": "full"}, {"deepspeed": "zero.json"}),
    "dpo-lora": ({"stage": "dpo", "finetuning_type": "lora"}, {"fsdp": "true", "fsdp_config": '{"version": 2}'}),
    "dpo-full": ({"stage": "dpo", "finetuning_type": "full"}, {"fsdp": "shard_grad_op", "gradient_checkpointing": "on"}),
    "rm-lora": ({"stage": "rm", "finetuning_type": "lora"}, {"fsdp": "full_shard"}),
    "dpo-qlora": (
        {"stage": "dpo", "finetuning_type": "lora", "quantization_bit": 4},
        {"fsdp": "full_shard", "gradient_checkpointing": "on"},
    ),
    "kto-lora": ({"stage": "kto", "finetuning_type": "lora"}, {"deepspeed": "zero.json"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_two_processes_with_parts_train_as_one_and_either_goes_on_from_the_other(job, assets, tmp_path):
    keys, how = JOBS[job]
    if "quantization_bit" in keys:
        pytest.importorskip("bitsandbytes")
    keys = {"max_steps": 6, "save_steps": 3, "lora_dropout": 0.0, "packing": False, "cutoff_len": 128, **keys}
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    if keys.get("stage"):
        data = {"kto": "kto_en_demo"}.get(keys["stage"], "dpo_en_demo")
        keys |= {"dataset_dir": assets / "data" / "llamafactory-demo", "max_samples": 40}
    (tmp_path / "zero.json").write_text(json.dumps(ZERO_2))
    one = train_command(model, data, tmp_path / "one", **keys, gradient_accumulation_steps=2)
    two = train_command(model, data, tmp_path / "two", **keys, gradient_accumulation_steps=1, nproc_per_node=2, **how)
    for command in (one, two):
        done = run(command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "each of 2 devices holds one part of weights" in done.stderr
    same_curve(tmp_path / "one", tmp_path / "two")
    expected, found = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert expected.keys() == found.keys()
    assert all(np.allclose(expected[name], found[name], atol=1e-4) for name in expected)
    for command, before, after in ((one, "two", "by one"), (two, "one", "by two")):
        shutil.copytree(tmp_path / before, tmp_path / after)
        shutil.rmtree(tmp_path / after / "checkpoints" / "step-6")
        words = [f"output_dir={tmp_path / after}" if word.startswith("output_dir=") else word for word in command]
        done = run([*words, "resume_from_checkpoint=true"], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        same_curve(tmp_path / "one", tmp_path / after)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["grpo", "ppo"])
def test_answers_drawn_on_two_devices_are_those_of_one(stage, assets, tmp_path):
    """An answer follows from seed, step and place, so that it does not matter which device draws it; held-out prompts, which
    each device answers a share of, give the same reward."""
    model, data = assets / "models" / "stories260K", make_data(tmp_path, 80)
    keys = {"stage": stage, "finetuning_type": "lora", "max_steps": 3, "save_strategy": "no", "eval_steps": 2, "val_size": 36}
    keys |= {"reward_funcs": "length", "max_new_tokens": 12, "num_generations": 4, "packing": False}
    one = run(train_command(model, data, tmp_path / "one", **keys, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    two = run(train_command(model, data, tmp_path / "two", **keys, gradient_accumulation_steps=1, nproc_per_node=2))
    assert two.returncode == 0, two.stderr
    same_curve(tmp_path / "one", tmp_path / "two")
    assert any("eval_reward" in row for row in numbers(tmp_path / "two"))


@pytest.mark.slow
def test_dropout_is_gone_on_with_to_the_last_bit(assets, tmp_path):
    """Law 5 with two processes: each finds its own random states again."""
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    keys = {"finetuning_type": "lora", "lora_dropout": 0.2, "max_steps": 6, "save_steps": 3, "nproc_per_node": 2}
    command = train_command(model, data, tmp_path / "whole", **keys)
    done = run(command)
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "whole", tmp_path / "on")
    shutil.rmtree(tmp_path / "on" / "checkpoints" / "step-6")
    done = run([*train_command(model, data, tmp_path / "on", **keys), "resume_from_checkpoint=true"])
    assert done.returncode == 0, done.stderr
    expected, found = tensors(tmp_path / "whole"), tensors(tmp_path / "on")
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
