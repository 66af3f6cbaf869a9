"""A tiny model folder with a real tokenizer, a small dataset, and `luthier train` as a process: what the law-tests drive."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def make_data(folder: Path, count: int = 40) -> Path:
    """Alpaca rows that say which number follows which."""
    answers = [f"After {n} comes {n + 1}." * (1 + n % 4) for n in range(count)]
    rows = [{"instruction": f"What comes after {n}?", "input": "", "output": answer} for n, answer in enumerate(answers)]
    file = folder / "numbers.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def train_command(model: Path, data: Path, output: Path, **keys: object) -> list[str]:
    keys = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": model,
        "dataset": data,
        "template": "chatml",
        "cutoff_len": 256,
        "output_dir": output,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "num_train_epochs": 3,
        "logging_steps": 1,
        "save_steps": 3,
        "val_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 5,
        "lora_dropout": 0.1,
        "packing": True,
        "lr_scheduler_type": "cosine",
        "report_to": "none",
        **keys,
    }
    return [sys.executable, "-m", "luthier", "train", *(f"{key}={value}" for key, value in keys.items())]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **extra}


def run(command: list[str], timeout_s: float = 240, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=cwd, env=environment(**extra))


TIMES = {"elapsed_s", "tokens_per_second", "eval_runtime"}


def numbers(folder: Path) -> list[dict]:
    """The metrics of a run without its times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """The saved weights of an adapter or a model, in float32."""
    from safetensors.torch import load_file

    name = next(name for name in ("adapter_model.safetensors", "model.safetensors") if (folder / name).exists())
    return {key: tensor.float().numpy() for key, tensor in load_file(folder / name).items()}
