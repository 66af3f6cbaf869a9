"""Keys that cannot go together are all told at once, each with its reason, before anything heavy is imported."""

import subprocess
import sys

import pytest

from luthier.config import load_config
from luthier.errors import ConfigError

JOB = {"model_name_or_path": "m", "dataset": "d", "do_train": True}
ZERO_3 = {"deepspeed": {"zero_optimization": {"stage": 3}}}
PAIRS = {
    "a quantised base and full tuning": (
        {"quantization_bit": 4, "finetuning_type": "full"},
        "quantised base cannot be",
    ),
    "a quantised base and freeze": ({"quantization_bit": 8, "finetuning_type": "freeze"}, "quantised base cannot be"),
    "GaLore and LoRA": ({"use_galore": True}, "save the memory of full tuning"),
    "GaLore's optim and OFT": ({"optim": "galore_adamw", "finetuning_type": "oft"}, "save the memory of full tuning"),
    "GaLore and lion": (
        {"use_galore": True, "finetuning_type": "full", "optim": "lion_8bit"},
        "GaLore works with adamw_8bit",
    ),
    "APOLLO and Adafactor": ({"use_apollo": True, "finetuning_type": "full", "optim": "adafactor"}, "bring their own AdamW"),
    "BAdam and LoRA": ({"use_badam": True}, "save the memory of full tuning"),
    "two precisions": ({"fp16": True, "bf16": True}, "keep bf16"),
    "pairs that are torn": ({"stage": "rm", "overflow": "split"}, "judged as a whole"),
    "distillation without a teacher": ({"stage": "kd"}, "needs teacher_model"),
    "GRPO without a reward": ({"stage": "grpo"}, "needs reward_model"),
    "PPO without a reward": ({"stage": "ppo"}, "needs reward_model"),
    "a reward and no answers": ({"stage": "sft", "reward_funcs": "format"}, "belong to stages ppo and grpo"),
    "PPO and greedy answers": ({"stage": "ppo", "reward_funcs": "format", "do_sample": False}, "drawn by chance"),
    "ZeRO-3 and a quantised base's PiSSA": (ZERO_3 | {"quantization_bit": 4, "pissa_init": True}, "needs whole weights"),
    "ZeRO-3 and GaLore": (ZERO_3 | {"use_galore": True, "finetuning_type": "full"}, "needs whole matrices"),
    "ZeRO-3 and drawn answers": (ZERO_3 | {"stage": "grpo", "reward_funcs": "format"}, "cannot be drawn from a model in parts"),
    "ZeRO-3 on a disk": (
        {"deepspeed": {"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}},
        "offloading to NVMe is not built",
    ),
    "PiSSA on a quantised base": ({"pissa_init": True, "quantization_bit": 4}, "pissa_init splits the weights"),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_each_has_its_reason(pair):
    keys, reason = PAIRS[pair]
    with pytest.raises(ConfigError, match=reason):
        load_config(JOB | keys)


def test_all_are_told_at_once():
    wrong = {
        "quantization_bit": 4, "finetuning_type": "full", "use_galore": True, "use_badam": True,
        "fp16": True, "bf16": True, "stage": "dpo", "overflow": "split", "val_size": 0.1, "eval_dataset": "e",
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        load_config(JOB | wrong)
    said = str(caught.value)
    for reason in (
        "quantised base",
        "use_galore, use_apollo, use_badam",
        "keep bf16",
        "judged as a whole",
        "both set: keep one",
    ):
        assert reason in said, said
    assert said.startswith("5 problems")


def test_nothing_heavy_is_imported_for_it():
    code = (
        "import sys\nfrom luthier.config import load_config\nfrom luthier.errors import ConfigError\n"
        "try:\n    load_config({'quantization_bit': 4, 'finetuning_type': 'full', 'do_train': True})\n"
        "except ConfigError:\n    print(sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
