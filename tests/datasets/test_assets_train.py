"""Every set of the shared material trains a step, from its own dataset_info.json or by bare path, as its owner would do it."""

import json
import math

import pytest

from luthier.config import Config
from luthier.runs import Run
from luthier.workflows.train import train

pytestmark = pytest.mark.slow
DEMO = "llamafactory-demo"
REGISTERED = {
    "identity": "sft",
    "alpaca_en_demo": "sft",
    "alpaca_zh_demo": "sft",
    "glaive_toolcall_en_demo": "sft",
    "glaive_toolcall_zh_demo": "sft",
    "dpo_en_demo": "dpo",
    "dpo_zh_demo": "dpo",
    "kto_en_demo": "kto",
    "wiki_demo": "pt",
    "c4_demo": "pt",
}
BARE = {
    f"{DEMO}/reason_tool_use_demo_50.jsonl": "sft",
    f"{DEMO}/dpo_en_demo.json": "rm",
    "gsm8k-alpaca-en/gsm8k_train.json": "sft",
    "smile-counsel-multiturn-zh/smile_sharegpt_800.json": "sft",
    "fastchat-dummy-sharegpt-en/dummy_conversation.json": "sft",
    "thucnews-titles-zh/train.jsonl": "sft",
    "thucnews-titles-zh/test.jsonl": "sft",
    "seafile-manual": "pt",
    "seafile-manual/zh": "pt",
}


def train_a_step(folder, stage, **keys):
    config = Config(
        model_name_or_path="starter",
        stage=stage,
        do_train=True,
        output_dir=str(folder),
        max_steps=1,
        cutoff_len=keys.pop("cutoff_len", 256),
        per_device_train_batch_size=2,
        logging_steps=1,
        save_strategy="no",
        **keys,
    )
    train(config)
    (row,) = [row for row in Run.open(folder).read_metrics() if "loss" in row]
    assert math.isfinite(row["loss"])


@pytest.mark.parametrize("name", REGISTERED)
def test_registered(assets, tmp_path, name):
    train_a_step(tmp_path / "run", REGISTERED[name], dataset=[name], dataset_dir=str(assets / "data" / DEMO))


@pytest.mark.parametrize("path", BARE)
def test_bare_path(assets, tmp_path, path):
    train_a_step(tmp_path / "run", BARE[path], dataset=[str(assets / "data" / path)])


@pytest.mark.parametrize("name", ["simple_python", "multiple", "parallel"])
def test_prompts_with_the_right_calls(assets, tmp_path, name):
    """Rows without answers train by reward: their ground_truth says which calls are right."""
    file = str(assets / "data" / "bfcl-toolcall-en" / f"BFCL_v4_{name}.jsonl")
    keys = {"reward_funcs": "tool_call", "num_generations": 2, "max_new_tokens": 16, "max_samples": 4, "cutoff_len": 2048}
    train_a_step(tmp_path / "run", "grpo", dataset=[file], **keys)


@pytest.mark.parametrize("name", ["alpaca_zh_demo", "c4_demo"])
def test_streamed(assets, tmp_path, name):
    keys = {"dataset": [name], "dataset_dir": str(assets / "data" / DEMO)}
    train_a_step(tmp_path / "run", REGISTERED[name], streaming=True, buffer_size=64, **keys)


def test_no_text_set_is_left_out(assets):
    """Whatever dataset_info.json names and lies in the folder is trained above."""
    folder = assets / "data" / DEMO
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    there = {name for name, entry in info.items() if (folder / entry.get("file_name", "?")).is_file()}
    assert there == REGISTERED.keys()
