"""Model sizes against methods: the GPU memory that a training takes, computed by the forecast that plans every training.

python -m luthier.workflows.sizes [FOLDER]        writes docs/reference/memory.md and memory_zh.md
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

import luthier.planner
from luthier.config import Config
from luthier.planner.forecast import Machine, memory
from luthier.runtime.device import Device
from luthier.runtime.precision import training_precision
from luthier.workflows.footprints import footprint_of
from luthier.workflows.plan import CONTEXT_BYTES, work_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TOKENS = 2048
GPU = Device(kind="cuda", index=0, name="a GPU", bfloat16=True)
METHODS: Mapping[str, Mapping[str, Any]] = {
    "full": {"finetuning_type": "full", "bf16": True},
    "full, pure_bf16": {"finetuning_type": "full", "pure_bf16": True},
    "freeze": {"finetuning_type": "freeze", "bf16": True},
    "LoRA": {"finetuning_type": "lora", "bf16": True},
    "QLoRA 8": {"finetuning_type": "lora", "bf16": True, "quantization_bit": 8},
    "QLoRA 4": {"finetuning_type": "lora", "bf16": True, "quantization_bit": 4},
}
WORDS = {
    "en": {
        "title": "Memory of a training",
        "head": "GPU memory in GB (10^9 bytes)",
        "intro": f"One sample of {TOKENS:,} tokens at once, gradient checkpointing on, AdamW, shapes of Qwen2.5, one device, "
        f"{CONTEXT_BYTES / 1e9:.1f} GB for the driver included. `luthier plan run.yaml` says it for your own config, "
        '`--gpu "RTX 4090"` for a card that you do not have. This page is computed by `python -m luthier.workflows.sizes`.',
        "methods": ("full", "full, `pure_bf16`", "freeze (2 layers)", "LoRA (rank 8)", "QLoRA, 8 bits", "QLoRA, 4 bits"),
    },
    "zh": {
        "title": "训练需要多少显存",
        "head": "显存（GB，10^9 字节）",
        "intro": f"每次一条 {TOKENS:,} 个词元的样本，开启梯度检查点，AdamW，Qwen2.5 的结构，单个设备，"
        f"含驱动占用的 {CONTEXT_BYTES / 1e9:.1f} GB。`luthier plan run.yaml` 按你自己的配置计算，"
        '`--gpu "RTX 4090"` 可以为手头没有的显卡计算。本页由 `python -m luthier.workflows.sizes` 算出。',
        "methods": ("全参数", "全参数，`pure_bf16`", "冻结（训练 2 层）", "LoRA（秩 8）", "QLoRA 8 位", "QLoRA 4 位"),
    },
}


def sizes_table(lang: str) -> str:
    """The table in Markdown, "en" or "zh": a line a size, a column a method, in GB."""
    words = WORDS[lang]
    lines = [f"| {words['head']} | {' | '.join(words['methods'])} |", "|---|" + "---:|" * len(METHODS)]
    for size in _shapes():
        sizes = (needed(size, method) / 1e9 for method in METHODS)
        cells = (f"{gb:.1f}" if gb < 100 else f"{gb:,.0f}" for gb in sizes)
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


@cache
def needed(size: str, method: str) -> int:
    """Bytes at the peak of a training of that size with that method."""
    config = Config(cutoff_len=TOKENS, per_device_train_batch_size=2, **METHODS[method])
    shape = _shape(size)
    precision = training_precision(config, GPU, torch.bfloat16)
    work = work_of(config, shape, GPU, precision, None, 1.0, None)
    machine = Machine(kind="cuda", library_bytes=CONTEXT_BYTES)
    footprint = footprint_of(config, shape, precision.param_dtype, longest=TOKENS)
    return sum(memory(config, footprint, work, machine, tokens=TOKENS, checkpointing=True).values())


def _shape(size: str) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.for_model("qwen2", **_shapes()[size])


@cache
def _shapes() -> dict[str, dict[str, Any]]:
    file = Path(luthier.planner.__file__).parent / "sizes.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def write_page(lang: str) -> str:
    """The whole page in "en" or "zh"."""
    return f"# {WORDS[lang]['title']}\n\n{WORDS[lang]['intro']}\n\n{sizes_table(lang)}\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
    for lang, name in (("en", "memory.md"), ("zh", "memory_zh.md")):
        (folder / name).write_text(write_page(lang), encoding="utf-8")
        print(folder / name)
