"""The kinds of training that LLaMA-Factory's examples show, with its keys, on the starter: each trains and is saved."""

import json

import pytest
import torch

from luthier.config import load_config
from luthier.models.expand import expand
from luthier.models.load import load_model
from luthier.workflows.train import train

COMMON = {
    "model_name_or_path": "starter",
    "trust_remote_code": False,
    "do_train": True,
    "cutoff_len": 128,
    "max_samples": 24,
    "overwrite_cache": True,
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
    "logging_steps": 1,
    "save_steps": 500,
    "plot_loss": False,
    "overwrite_output_dir": True,
    "save_only_model": False,
    "report_to": "none",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "max_steps": 3,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
}
LORA = {"finetuning_type": "lora", "lora_rank": 8, "lora_target": "all"}
FULL = {"stage": "sft", "finetuning_type": "full", "dataset": "identity"}
SFT = {"stage": "sft", "dataset": "identity"}
JOBS = {
    "pre-training": LORA | {"stage": "pt", "dataset": "pt_demo"},
    "lora sft": LORA | SFT | {"val_size": 0.1, "per_device_eval_batch_size": 1, "eval_strategy": "steps", "eval_steps": 500},
    "lora reward": LORA | {"stage": "rm", "dataset": "preference_demo"},
    "lora dpo": LORA | {"stage": "dpo", "dataset": "preference_demo", "pref_beta": 0.1, "pref_loss": "sigmoid"},
    "lora orpo": LORA | {"stage": "dpo", "dataset": "preference_demo", "pref_beta": 0.1, "pref_loss": "orpo"},
    "lora simpo": LORA | {"stage": "dpo", "dataset": "preference_demo", "pref_loss": "simpo", "simpo_gamma": 0.5},
    "full dpo": {"finetuning_type": "full", "stage": "dpo", "dataset": "preference_demo", "pref_loss": "ipo"},
    "dpo against a second model, asked before": LORA
    | {"stage": "dpo", "dataset": "preference_demo", "ref_model": "starter", "precompute_ref_log_probs": True},
    "dpo with several losses": LORA
    | {"stage": "dpo", "dataset": "preference_demo", "pref_loss": "sigmoid,ipo", "pref_loss_weights": "1,0.1", "pref_ftx": 0.1},
    "distillation": LORA | {"stage": "kd", "dataset": "identity", "teacher_model": "starter", "kd_alpha": 0.5},
    "asft": LORA | SFT | {"use_asft_loss": True},
    "lora kto": LORA | {"stage": "kto", "dataset": "rated_demo", "pref_beta": 0.1},
    "lora grpo": LORA | {"stage": "grpo", "dataset": "sums_demo", "reward_funcs": "exact_answer", "max_new_tokens": 8},
    "qlora sft": LORA | SFT | {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": False},
    "int8 sft": LORA | SFT | {"quantization_bit": 8},
    "full sft": FULL,
    "full dft": FULL | {"use_dft_loss": True},
    "full galore": FULL
    | {"use_galore": True, "galore_layerwise": False, "galore_target": "mlp,self_attn", "galore_rank": 16, "galore_scale": 2.0},
    "full apollo": FULL | {"use_apollo": True, "apollo_target": "all", "apollo_rank": 16, "apollo_scale": 32.0},
    "full badam": FULL
    | {"use_badam": True, "badam_mode": "layer", "badam_switch_mode": "ascending", "badam_switch_interval": 2},
    "full muon": FULL | {"use_muon": True},
    "freeze": SFT | {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "freeze_trainable_modules": "all"},
    "lora plus": LORA | SFT | {"loraplus_lr_ratio": 16.0},
    "pissa": LORA | SFT | {"pissa_init": True, "pissa_iter": 4},
    "dora": LORA | SFT | {"use_dora": True},
    "rslora": LORA | SFT | {"use_rslora": True},
    "oft": SFT | {"finetuning_type": "oft", "oft_block_size": 32, "oft_target": "all"},
    "new tokens": LORA | SFT | {"add_tokens": "<one>,<two>", "resize_vocab": True},
    "longer context": LORA | SFT | {"rope_scaling": "linear"},
    "neftune": LORA | SFT | {"neftune_noise_alpha": 5},
}


def run(tmp_path, job, **more):
    settings = COMMON | {"output_dir": str(tmp_path / "run")} | job | more
    train(load_config(settings))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 3 and all(loss == loss for loss in losses)
    return tmp_path / "run"


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_it_trains(name, tmp_path):
    folder = run(tmp_path, JOBS[name])
    weights = "model.safetensors" if JOBS[name]["finetuning_type"] in ("full", "freeze") else "adapter_model.safetensors"
    assert (folder / weights).is_file() and (folder / "tokenizer.json").is_file()
    assert (folder / "value_head.safetensors").is_file() == (JOBS[name]["stage"] == "rm")


@pytest.mark.slow
def test_llama_pro_trains_the_new_blocks_alone(tmp_path):
    from luthier.config import Config
    from luthier.models.tokenizer import load_tokenizer

    config = Config(model_name_or_path="starter")
    model = expand(load_model(config, dtype=torch.float32), 2)
    model.save_pretrained(tmp_path / "larger")
    load_tokenizer(config).save_pretrained(tmp_path / "larger")
    keys = {"finetuning_type": "freeze", "freeze_trainable_layers": 2, "use_llama_pro": True}
    folder = run(tmp_path, SFT | keys, model_name_or_path=str(tmp_path / "larger"))
    after = load_model(Config(model_name_or_path=str(folder)), dtype=torch.float32)
    changed = {
        name.split("layers.")[1].split(".")[0]
        for (name, p), (_, q) in zip(model.named_parameters(), after.named_parameters())
        if not torch.equal(p, q)
    }
    assert changed == {"2", "5"}


@pytest.mark.slow
def test_a_reward_model_judges_a_ppo_training(tmp_path):
    """rm, then ppo with its adapter and head as the reward."""
    (tmp_path / "rm").mkdir()
    reward = run(tmp_path / "rm", JOBS["lora reward"])
    keys = LORA | {"stage": "ppo", "dataset": "sums_demo", "reward_model": str(reward), "max_new_tokens": 8}
    folder = run(tmp_path, keys, reward_model_type="lora", ppo_epochs=2)
    assert (folder / "value_head.safetensors").is_file()
