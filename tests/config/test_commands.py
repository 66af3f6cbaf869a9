"""The commands that users of LLaMA-Factory already have: as flags, YAML, JSON and mixtures of them."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from luthier.config import Config, load_config

TRAIN = """--model_name_or_path MODEL --stage sft --do_train --finetuning_type lora --template qwen --dataset identity
    --output_dir ./saves/lora/sft --learning_rate 0.0005 --num_train_epochs 8 --cutoff_len 4096 --logging_steps 1
    --warmup_ratio 0.1 --weight_decay 0.1 --gradient_accumulation_steps 8 --save_total_limit 1 --save_steps 256
    --seed 42 --data_seed 42 --lr_scheduler_type cosine --overwrite_cache --preprocessing_num_workers 16
    --plot_loss --overwrite_output_dir
    --per_device_train_batch_size 1 --fp16"""
PREDICT = """--stage sft --do_predict --finetuning_type lora --model_name_or_path MODEL --adapter_name_or_path ./saves/lora/sft
    --template qwen --dataset identity --cutoff_len 4096 --max_samples 20 --overwrite_cache --overwrite_output_dir
    --per_device_eval_batch_size 1 --preprocessing_num_workers 16 --predict_with_generate"""
EXPORT = """--model_name_or_path MODEL --adapter_name_or_path ./saves/lora/sft/ --template qwen --finetuning_type lora
    --export_dir ./saves/lora/export/ --export_size 2 --export_device cpu --export_legacy_format False"""
BOARD = """--stage sft --do_train True --model_name_or_path MODEL --preprocessing_num_workers 16 --finetuning_type lora
    --template qwen3 --flash_attn auto --dataset_dir data --dataset identity --cutoff_len 2048
    --learning_rate 5e-05 --num_train_epochs 3.0 --max_samples 100000 --per_device_train_batch_size 1
    --gradient_accumulation_steps 8 --lr_scheduler_type cosine --max_grad_norm 1.0 --logging_steps 10 --save_steps 100
    --warmup_steps 100 --neftune_noise_alpha 5 --packing True --neat_packing True --enable_thinking False
    --report_to tensorboard --output_dir saves/Qwen3-0.6B-Thinking/lora/train_1
    --bf16 True --plot_loss True --trust_remote_code True --ddp_timeout 180000000 --include_num_input_tokens_seen True
    --optim adamw_torch --lora_rank 8 --lora_alpha 16 --lora_dropout 0.05
    --lora_target q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj --val_size 0.1 --eval_strategy steps --eval_steps 100
    --per_device_eval_batch_size 1"""

MEANT = {
    "train": (
        TRAIN,
        {
            "model_name_or_path": "MODEL",
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "template": "qwen",
            "dataset": ["identity"],
            "output_dir": "./saves/lora/sft",
            "learning_rate": 0.0005,
            "num_train_epochs": 8.0,
            "cutoff_len": 4096,
            "logging_steps": 1,
            "warmup_ratio": 0.1,
            "weight_decay": 0.1,
            "gradient_accumulation_steps": 8,
            "save_total_limit": 1,
            "save_steps": 256,
            "seed": 42,
            "data_seed": 42,
            "lr_scheduler_type": "cosine",
            "overwrite_cache": True,
            "preprocessing_num_workers": 16,
            "plot_loss": True,
            "overwrite_output_dir": True,
            "per_device_train_batch_size": 1,
            "fp16": True,
        },
    ),
    "predict": (
        PREDICT,
        {
            "stage": "sft",
            "do_predict": True,
            "finetuning_type": "lora",
            "model_name_or_path": "MODEL",
            "adapter_name_or_path": ["./saves/lora/sft"],
            "template": "qwen",
            "dataset": ["identity"],
            "cutoff_len": 4096,
            "max_samples": 20,
            "overwrite_cache": True,
            "overwrite_output_dir": True,
            "per_device_eval_batch_size": 1,
            "preprocessing_num_workers": 16,
            "predict_with_generate": True,
        },
    ),
    "export": (
        EXPORT,
        {
            "model_name_or_path": "MODEL",
            "adapter_name_or_path": ["./saves/lora/sft/"],
            "template": "qwen",
            "finetuning_type": "lora",
            "export_dir": "./saves/lora/export/",
            "export_size": 2,
            "export_device": "cpu",
            "export_legacy_format": False,
        },
    ),
    "board": (
        BOARD,
        {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": "MODEL",
            "preprocessing_num_workers": 16,
            "finetuning_type": "lora",
            "template": "qwen3",
            "flash_attn": "auto",
            "dataset_dir": "data",
            "dataset": ["identity"],
            "cutoff_len": 2048,
            "learning_rate": 5e-5,
            "num_train_epochs": 3.0,
            "max_samples": 100000,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 8,
            "lr_scheduler_type": "cosine",
            "max_grad_norm": 1.0,
            "logging_steps": 10,
            "save_steps": 100,
            "warmup_steps": 100,
            "neftune_noise_alpha": 5.0,
            "packing": True,
            "neat_packing": True,
            "enable_thinking": False,
            "report_to": ["tensorboard"],
            "output_dir": "saves/Qwen3-0.6B-Thinking/lora/train_1",
            "bf16": True,
            "plot_loss": True,
            "trust_remote_code": True,
            "ddp_timeout": 180000000,
            "include_num_input_tokens_seen": True,
            "optim": "adamw_torch",
            "lora_rank": 8,
            "lora_alpha": 16,
            "lora_dropout": 0.05,
            "lora_target": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            "val_size": 0.1,
            "eval_strategy": "steps",
            "eval_steps": 100,
            "per_device_eval_batch_size": 1,
        },
    ),
}


def text_pairs(command: str) -> dict[str, str]:
    """The command as key -> text, a bare flag being "True"."""
    words = shlex.split(command)
    pairs = {}
    while words:
        key = words.pop(0).removeprefix("--")
        pairs[key] = words.pop(0) if words and not words[0].startswith("--") else "True"
    return pairs


@pytest.fixture(params=MEANT, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[list[str], dict[str, str], dict]:
    command, meant = MEANT[request.param]
    return shlex.split(command), text_pairs(command), meant


def test_flags(case):
    words, _, meant = case
    config = load_config(words)
    assert config.to_dict() == meant
    assert config.model_fields_set == meant.keys()


def test_every_way_of_writing_it_is_the_same_config(case, tmp_path: Path):
    words, pairs, meant = case
    expected = load_config(words)
    as_typed, as_text, as_json = tmp_path / "typed.yaml", tmp_path / "text.yml", tmp_path / "a b.json"
    as_typed.write_text(yaml.safe_dump(meant))
    as_text.write_text("".join(f"{key}: {value}\n" for key, value in pairs.items()))
    as_json.write_text(json.dumps(meant))
    half = len(pairs) // 2
    first, second = dict(list(pairs.items())[:half]), dict(list(pairs.items())[half:])
    part = tmp_path / "part.yaml"
    part.write_text("".join(f"{key}: {value}\n" for key, value in first.items()) + "seed: 7\n")
    seed = pairs.get("seed", "42")
    sources = {
        "dict": meant,
        "dict of text": pairs,
        "yaml": as_typed,
        "yaml as text": str(as_text),
        "yaml in argv": [str(as_typed)],
        "json": as_json,
        "json in argv": [str(as_json)],
        "key=value": [f"{key}={value}" for key, value in pairs.items()],
        "--key=value": [f"--{key}={value}" for key, value in pairs.items()],
        "--key-with-dashes": [f"--{key.replace('_', '-')}={value}" for key, value in pairs.items()],
        "yaml + key=value": [str(part), *(f"{key}={value}" for key, value in second.items()), f"seed={seed}"],
        "yaml + --key value": [str(part), *(w for key, value in second.items() for w in (f"--{key}", value)), "--seed", seed],
    }
    for name, source in sources.items():
        loaded = load_config(source)
        assert loaded == expected or loaded.to_dict() == expected.to_dict() | {"seed": 42}, name
    assert load_config(part, {**second, "seed": seed}) == load_config(
        part, [f"{k}={v}" for k, v in second.items()] + [f"seed={seed}"]
    )


def test_later_wins(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("lora_rank: 4\nseed: 1\n")
    config = load_config(["lora_rank=8", str(file), "--seed", "2", "seed=3"])
    assert (config.lora_rank, config.seed) == (4, 3)
    assert load_config(file, overrides={"lora_rank": 32}).lora_rank == 32


def test_config_reads_values_as_load_config_does():
    assert Config(learning_rate="5e-05", lora_target="a, b").to_dict() == {"learning_rate": 5e-5, "lora_target": ["a", "b"]}
