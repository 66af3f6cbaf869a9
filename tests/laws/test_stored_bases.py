"""A model that was exported in few bits is a base again: an adapter learns on it and merges into full weights."""

import json

import pytest

from luthier.config import load_config
from luthier.workflows.export import export
from luthier.workflows.train import train

WORDS = {"model_name_or_path": "starter", "template": "auto"}
DATA = {"export_quantization_dataset": "general", "export_quantization_maxlen": 128, "export_quantization_nsamples": 40}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gptq", "awq", "fp8", "int8"])
def test_it_learns_and_merges(kind, tmp_path):
    few, run, merged = (str(tmp_path / name) for name in ("few", "run", "merged"))
    export(load_config(WORDS | {"export_dir": few, "export_format": kind} | (DATA if kind in ("gptq", "awq") else {})))
    learning = {"stage": "sft", "do_train": True, "finetuning_type": "lora", "dataset": "identity", "learning_rate": 5e-3}
    steps = {"num_train_epochs": 4, "logging_steps": 1, "plot_loss": False, "report_to": "none"}
    train(load_config({"model_name_or_path": few, "output_dir": run} | learning | steps))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.3 * losses[0]
    export(load_config({"model_name_or_path": few, "adapter_name_or_path": run, "export_dir": merged}))
    proof = json.loads((tmp_path / "merged" / "luthier.json").read_text())["exported"]["proof"]
    assert proof["same_likeliest_token"] == 1 and proof["kl_divergence"] < 1e-3
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
