"""The commands in the notes of LLaMA-Factory users run as they stand; as YAML, as JSON and mixed they do the same."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.laws.commands import run, tensors

REPOSITORY = Path(__file__).parents[2]
TRAIN = """
    --model_name_or_path starter --stage sft --do_train --finetuning_type lora --template qwen --dataset identity
    --output_dir ./saves/lora/sft --learning_rate 0.0005 --num_train_epochs 8 --cutoff_len 4096 --logging_steps 1
    --warmup_ratio 0.1 --weight_decay 0.1 --gradient_accumulation_steps 8 --save_total_limit 1 --save_steps 256 --seed 42
    --data_seed 42 --lr_scheduler_type cosine --overwrite_cache --preprocessing_num_workers 16 --plot_loss
    --overwrite_output_dir --per_device_train_batch_size 1 --fp16
"""
PREDICT = """
    --stage sft --do_predict --finetuning_type lora --model_name_or_path starter --adapter_name_or_path ./saves/lora/sft
    --template qwen --dataset identity --cutoff_len 4096 --max_samples 20 --overwrite_cache --overwrite_output_dir
    --per_device_eval_batch_size 1 --preprocessing_num_workers 16 --predict_with_generate
"""
EXPORT = """
    --model_name_or_path starter --adapter_name_or_path ./saves/lora/sft/ --template qwen --finetuning_type lora
    --export_dir ./saves/lora/export/ --export_size 2 --export_device cpu --export_legacy_format False
"""
PACKED = """
    --stage sft --do_train True --model_name_or_path starter --preprocessing_num_workers 16 --finetuning_type lora
    --template qwen3 --flash_attn auto --dataset_dir data --dataset identity --cutoff_len 2048 --learning_rate 5e-05
    --num_train_epochs 3.0 --max_samples 100000 --per_device_train_batch_size 1 --gradient_accumulation_steps 8
    --lr_scheduler_type cosine --max_grad_norm 1.0 --logging_steps 10 --save_steps 100 --warmup_steps 100
    --neftune_noise_alpha 5 --packing True --neat_packing True --enable_thinking False --report_to tensorboard
    --output_dir saves/Qwen3-0.6B-Thinking/lora/train_1 --bf16 True --plot_loss True --trust_remote_code True
    --ddp_timeout 180000000 --include_num_input_tokens_seen True --optim adamw_torch --lora_rank 8 --lora_alpha 16
    --lora_dropout 0.05 --lora_target q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj --val_size 0.1
    --eval_strategy steps --eval_steps 100 --per_device_eval_batch_size 1
"""
JOBS = {"train": ("train", TRAIN), "predict": ("train", PREDICT), "export": ("export", EXPORT), "packed": ("train", PACKED)}
BASE = """
    --stage sft --do_predict --predict_with_generate --model_name_or_path starter --template qwen --dataset identity
    --cutoff_len 4096 --max_samples 20 --output_dir saves/base
"""


def as_mapping(flags: str) -> dict[str, object]:
    """{"do_train": True, "learning_rate": 0.0005, ...}: values as YAML reads them."""
    words, mapping = shlex.split(flags), {}
    while words:
        key, bare = words.pop(0).removeprefix("--"), not words or words[0].startswith("--")
        mapping[key] = True if bare else yaml.safe_load(words.pop(0))
    return mapping


def as_flags(flags: str, folder: Path, job: str) -> list[str]:
    return shlex.split(flags)


def as_yaml(flags: str, folder: Path, job: str) -> list[str]:
    (folder / f"{job}.yaml").write_text(yaml.safe_dump(as_mapping(flags)), encoding="utf-8")
    return [f"{job}.yaml"]


def as_json(flags: str, folder: Path, job: str) -> list[str]:
    (folder / f"{job}.json").write_text(json.dumps(as_mapping(flags)), encoding="utf-8")
    return [f"{job}.json"]


def mixed(flags: str, folder: Path, job: str) -> list[str]:
    """A YAML that holds a third of the keys, and wrong values for another third, with overrides of both spellings."""
    keys = as_mapping(flags)
    names = sorted(keys)
    kept, later, flagged = names[::3], names[1::3], names[2::3]
    wrong = {"learning_rate": 0.1, "seed": 1, "num_train_epochs": 1, "max_samples": 3, "export_size": 9, "cutoff_len": 99}
    there = {
        key: wrong.get(key, keys[key]) if key in later + flagged else keys[key] for key in names if key in kept or key in wrong
    }
    (folder / f"{job}.yaml").write_text(yaml.safe_dump(there), encoding="utf-8")
    overrides = [f"{key}={keys[key]}" for key in later]
    return [f"{job}.yaml", *overrides, *(word for key in flagged for word in (f"--{key}", str(keys[key])))]


def luthier(verb: str, words: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "luthier", verb, *words]
    done = run(command, timeout_s=400, cwd=folder, XDG_CACHE_HOME=str(folder / "cache"))
    assert done.returncode == 0, f"{verb} {words}\n{done.stderr}"


def rouge_1(folder: Path) -> float:
    return json.loads((folder / "all_results.json").read_text())["predict_rouge-1"]


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A working folder for each form, after its four commands."""
    folders = {}
    for form in (as_flags, as_yaml, as_json, mixed):
        folder = folders[form.__name__] = tmp_path_factory.mktemp(form.__name__)
        (folder / "data").symlink_to(REPOSITORY / "data", target_is_directory=True)
        for job, (verb, flags) in JOBS.items():
            luthier(verb, form(flags, folder, job), folder)
    return folders


@pytest.mark.slow
def test_they_leave_what_their_users_look_for(documented):
    saves = documented["as_flags"] / "saves"
    run, packed = saves / "lora" / "sft", saves / "Qwen3-0.6B-Thinking" / "lora" / "train_1"
    for name in (
        "adapter_model.safetensors",
        "adapter_config.json",
        "training_loss.png",
        "trainer_log.jsonl",
        "all_results.json",
    ):
        assert (run / name).is_file() and (packed / name).is_file(), name
    assert len((run / "predict" / "generated_predictions.jsonl").read_text().splitlines()) == 20
    assert (saves / "lora" / "export" / "model.safetensors").is_file()
    assert list(packed.rglob("events.out.tfevents.*"))
    losses = [json.loads(row)["loss"] for row in (run / "trainer_log.jsonl").read_text().splitlines() if '"loss"' in row]
    assert np.mean(losses[-10:]) < 0.5 * losses[0]


@pytest.mark.slow
def test_the_recipe_lifts_the_score_of_its_identity_rows(documented):
    folder = documented["as_flags"]
    luthier("train", shlex.split(BASE), folder)
    before, after = rouge_1(folder / "saves" / "base"), rouge_1(folder / "saves" / "lora" / "sft" / "predict")
    assert after > before + 10


@pytest.mark.slow
@pytest.mark.parametrize("form", ["as_yaml", "as_json", "mixed"])
def test_every_form_does_the_same_work(documented, form):
    expected, found = documented["as_flags"] / "saves", documented[form] / "saves"
    for saved in ("lora/sft", "lora/export", "Qwen3-0.6B-Thinking/lora/train_1"):
        one, other = tensors(expected / saved), tensors(found / saved)
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one), saved
    predictions = Path("lora/sft/predict/generated_predictions.jsonl")
    assert (expected / predictions).read_text() == (found / predictions).read_text()
