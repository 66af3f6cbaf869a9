"""`luthier env`: what this machine has and what works on it, for bug reports and for people who wonder.

What enters: nothing. What leaves: versions, device, memory, disk and extras, as text or JSON. It never uses the network.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from luthier import __version__
from luthier.cli.arguments import take_flags
from luthier.runtime.files import free_bytes, size_text

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "huggingface_hub", "numpy")
EXTRAS = {
    "bitsandbytes": "4 and 8 bit bases",
    "deepspeed": "ZeRO across GPUs",
    "flash_attn": "flash attention 2",
    "liger_kernel": "fused GPU kernels",
    "modelscope": "models of modelscope.cn",
    "wandb": "Weights & Biases",
    "swanlab": "SwanLab",
    "vllm": "vLLM engine",
}


def command(argv: list[str]) -> None:
    """luthier env [--json]

    Versions, device, memory, disk, number formats and optional libraries of this machine.

    Example:
      luthier env --json
    """
    _, flags = take_flags(argv, "--json")
    facts = collect()
    if "--json" in flags:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for title, part in facts.items():
        print(title)
        for name, value in part.items():
            print(f"  {name:<18}{value}")


def collect() -> dict[str, dict[str, Any]]:
    """Everything that is printed, by heading."""
    return {
        "versions": {"luthier": __version__, "python": platform.python_version(), "platform": platform.platform()}
        | {name: found for name in LIBRARIES if (found := _version(name))},
        "device": _device(),
        "optional": {name: f"{'yes' if find_spec(name) else 'no':<5}{use}" for name, use in EXTRAS.items()},
    }


def _device() -> dict[str, str]:
    import torch

    from luthier.config import Config
    from luthier.runtime.device import memory, pick_device
    from luthier.runtime.precision import obstacle

    device = pick_device(Config())
    free, total = memory(device)
    found = {"device": f"{device} {device.name}".strip(), "memory": f"{size_text(free)} free of {size_text(total)}"}
    if device.kind == "cpu":
        found["threads"] = str(torch.get_num_threads())
    for dtype in (torch.bfloat16, torch.float16):
        reason = obstacle(dtype, device)
        found[str(dtype).removeprefix("torch.")] = f"no: {reason}" if reason else "yes"
    found["disk here"] = f"{size_text(free_bytes(Path.cwd()))} free"
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
