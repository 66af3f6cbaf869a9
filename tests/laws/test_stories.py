"""The whole way on stories260K, which nobody here made: text and instructions are learned, merges are exact, English stays."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.laws.commands import run, tensors

PROMPTS = (
    "Once upon a time, there was a little girl named Lily.",
    "One day, Tom and his dog went to the park.",
    "The cat was sad",
)
COMMON = {
    "cutoff_len": 128,
    "max_samples": 150,
    "template": "default",
    "val_size": 0.1,
    "eval_strategy": "steps",
    "eval_steps": 10,
    "gradient_accumulation_steps": 4,
    "report_to": "none",
}
TEXT = {"stage": "pt", "dataset": "c4_demo", "num_train_epochs": 1}
TALK = {"stage": "sft", "dataset": "alpaca_en_demo", "num_train_epochs": 2}
FULL = {"finetuning_type": "full", "learning_rate": 1e-4}
LORA = {"finetuning_type": "lora", "learning_rate": 5e-4}
JOBS = {"pt-full": TEXT | FULL, "pt-lora": TEXT | LORA, "sft-full": TALK | FULL, "sft-lora": TALK | LORA}


def luthier(verb: str, **keys: object) -> str:
    done = run([sys.executable, "-m", "luthier", verb, *(f"{key}={value}" for key, value in keys.items())])
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_real_model_learns_and_still_speaks(job, assets, tmp_path):
    model, trained, exported = assets / "models" / "stories260K", tmp_path / "run", tmp_path / "exported"
    keys = COMMON | JOBS[job]
    luthier("train", model_name_or_path=model, dataset_dir=assets / "data/llamafactory-demo", output_dir=trained, **keys)
    losses = [row["eval_loss"] for row in rows(trained / "metrics.jsonl") if "eval_loss" in row]
    assert losses[-1] < held_out_loss_of(model, trained, keys, assets, tmp_path) - 0.1
    if "lora" in job:
        source = {"model_name_or_path": model, "adapter_name_or_path": trained}
    else:
        source = {"model_name_or_path": trained}
    luthier("export", **source, export_dir=exported, template="default")
    if "lora" in job:
        check_merge(model, trained, exported)
    stories = [greedy(exported, prompt) for prompt in PROMPTS]
    known = words((assets / "data/llamafactory-demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
    said = [word for story in stories for word in re.findall(r"[a-z]+", story.lower())]
    assert len(said) > 40 and len(set(said)) > 20, stories
    assert sum(word in known for word in said) / len(said) > 0.9, stories


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def held_out_loss_of(model: Path, trained: Path, keys: dict, assets: Path, tmp_path: Path) -> float:
    """The loss of the untrained model on the same held-out rows: a training whose learning rate is next to nothing."""
    still = tmp_path / "still"
    keys = {**keys, "learning_rate": 1e-12, "max_steps": 1, "eval_steps": 1}
    luthier("train", model_name_or_path=model, dataset_dir=assets / "data/llamafactory-demo", output_dir=still, **keys)
    return next(row["eval_loss"] for row in rows(still / "metrics.jsonl") if "eval_loss" in row)


def check_merge(model: Path, adapter: Path, exported: Path) -> None:
    """Each merged matrix is W + (alpha / r) B A, worked out here in float64 and rounded once."""
    base, found, delta = tensors(model), tensors(exported), tensors(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale, changed = config["lora_alpha"] / config["r"], 0
    for name, weight in base.items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        expected = weight.astype(np.float64)
        if f"{key}.lora_A.weight" in delta:
            b, a = (delta[f"{key}.lora_{side}.weight"].astype(np.float64) for side in "BA")
            expected, changed = expected + scale * b @ a, changed + 1
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-6, err_msg=name)
    assert changed and len(delta) == 2 * changed


def greedy(folder: Path, prompt: str) -> str:
    """The next 60 tokens by transformers alone; our own engine must say the same."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from luthier.engines.base import Sampling
    from luthier.engines.hf import HFEngine

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt)["input_ids"]
    plain = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=60)[0, len(ids) :].tolist()
    engine = HFEngine(model.eval(), tokenizer, [tokenizer.eos_token_id])
    [ours] = engine.generate([ids], Sampling(do_sample=False, max_new_tokens=60))
    assert list(ours.ids) == [id for id in plain if id != tokenizer.eos_token_id]
    return tokenizer.decode(plain, skip_special_tokens=True)
