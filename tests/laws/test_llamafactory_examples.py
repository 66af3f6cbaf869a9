"""The jobs of LLaMA-Factory's own examples, key for key, with a small model and our demo data: each is read, each trains.

What its examples ask of other backends and of images is refused with its name, never ignored.
"""

import json

import pytest
import torch

from luthier.config import Config, load_config
from luthier.errors import ConfigError
from luthier.models.expand import expand
from luthier.models.load import load_model
from luthier.models.tokenizer import load_tokenizer
from luthier.workflows.train import train

BASE = {
    "model_name_or_path": "starter",
    "trust_remote_code": True,
    "do_train": True,
    "dataset": "identity,alpaca_en_demo",
    "cutoff_len": 2048,
    "max_samples": 1000,
    "preprocessing_num_workers": 16,
    "dataloader_num_workers": 4,
    "logging_steps": 10,
    "save_steps": 500,
    "plot_loss": True,
    "overwrite_output_dir": True,
    "save_only_model": False,
    "report_to": "none",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "learning_rate": 1.0e-4,
    "num_train_epochs": 3.0,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "bf16": True,
    "ddp_timeout": 180000000,
    "resume_from_checkpoint": None,
}
LORA = {"stage": "sft", "finetuning_type": "lora", "lora_rank": 8, "lora_target": "all"}
FULL = {"stage": "sft", "finetuning_type": "full"}
PAIRS = {"dataset": "preference_demo", "pref_beta": 0.1}
ALONE = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 1}
PURE = {"bf16": None, "pure_bf16": True}

EXAMPLES = {
    "train_lora pretrain": LORA | {"stage": "pt", "dataset": "pt_demo"},
    "train_lora sft": LORA,
    "train_lora reward": LORA | {"stage": "rm", "dataset": "preference_demo"},
    "train_lora dpo": LORA | PAIRS | {"stage": "dpo", "pref_loss": "sigmoid"},
    "train_lora kto": LORA | {"stage": "kto", "dataset": "rated_demo", "pref_beta": 0.1},
    "train_full sft": FULL,
    "train_qlora otfq": LORA | {"quantization_bit": 4, "quantization_method": "bnb"},
    "train_qlora bnb npu": LORA | {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": False},
    "adam_mini": FULL | {"use_adam_mini": True},
    "apollo": FULL
    | ALONE
    | PURE
    | {
        "use_apollo": True,
        "apollo_layerwise": True,
        "apollo_target": "all",
        "apollo_rank": 128,
        "apollo_scale": 32.0,
        "apollo_scale_type": "channel",
    },
    "asft": FULL | {"use_asft_loss": True, "asft_alpha": 0.1},
    "badam": FULL
    | {
        "use_badam": True,
        "badam_mode": "layer",
        "badam_switch_mode": "ascending",
        "badam_switch_interval": 50,
        "badam_verbose": 2,
    },
    "dft": FULL | {"use_dft_loss": True},
    "eaft": FULL | {"use_eaft_loss": True},
    "fsdp_qlora": LORA | {"quantization_bit": 4},
    "galore": FULL
    | ALONE
    | PURE
    | {"use_galore": True, "galore_layerwise": True, "galore_target": "all", "galore_rank": 128, "galore_scale": 2.0},
    "llama_pro": {
        "stage": "sft",
        "finetuning_type": "freeze",
        "freeze_trainable_layers": 2,
        "freeze_trainable_modules": "all",
        "use_llama_pro": True,
    },
    "loraplus": LORA | {"loraplus_lr_ratio": 16.0},
    "muon": FULL | {"use_muon": True},
    "oft": {"stage": "sft", "finetuning_type": "oft", "oft_block_size": 32, "oft_target": "all"},
    "pissa": LORA | {"pissa_init": True, "pissa_iter": 16, "pissa_convert": True},
    "qoft": {"stage": "sft", "finetuning_type": "oft", "oft_block_size": 32, "oft_target": "all", "quantization_bit": 4},
    "dora": LORA | {"use_dora": True},
    "freeze": {"stage": "sft", "finetuning_type": "freeze", "freeze_trainable_layers": 2, "freeze_trainable_modules": "all"},
}

REFUSED = {
    "mod": FULL | PURE | {"mixture_of_depths": "convert", "optim": "paged_adamw_8bit"},
    "fp8": FULL | {"fp8": True, "fp8_backend": "torchao", "fp8_enable_fsdp_float8_all_gather": False},
    "ktransformers": LORA | {"use_kt": True},
    "ascend": FULL | {"use_v1_kernels": True},
    "megatron": FULL | {"tensor_model_parallel_size": 4, "pipeline_model_parallel_size": 2, "sequence_parallel": True},
    "qwen3vl": LORA | {"image_max_pixels": 262144, "video_max_pixels": 16384},
}


def settings(keys, folder, **more):
    found = BASE | {"output_dir": str(folder)} | keys | more
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_read_as_it_stands(name, tmp_path):
    config = load_config(settings(EXAMPLES[name], tmp_path))
    assert config.output_dir == str(tmp_path) and config.stage == EXAMPLES[name]["stage"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_another_backend_does_is_refused_by_name(name, tmp_path):
    key = next(key for key in REFUSED[name] if key not in FULL | LORA | PURE)
    with pytest.raises(ConfigError, match=f"{key}: .* is not built yet"):
        load_config(settings(REFUSED[name], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_trains(name, tmp_path):
    keys = EXAMPLES[name]
    small = {"max_samples": 24, "max_steps": 3, "logging_steps": 1, "cutoff_len": 128, "plot_loss": False}
    small |= {"preprocessing_num_workers": 1, "dataloader_num_workers": 0, "learning_rate": 1e-3}
    if name == "llama_pro":
        larger = expand(load_model(Config(model_name_or_path="starter"), dtype=torch.float32), 2)
        larger.save_pretrained(tmp_path / "larger")
        load_tokenizer(Config(model_name_or_path="starter")).save_pretrained(tmp_path / "larger")
        small["model_name_or_path"] = str(tmp_path / "larger")
    train(load_config(settings(keys, tmp_path / "run", **small)))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 3 and all(loss == loss for loss in losses)
    whole = keys["finetuning_type"] in ("full", "freeze")
    assert (tmp_path / "run" / ("model.safetensors" if whole else "adapter_model.safetensors")).is_file()
