"""Liger's fused kernels for norms, rotary positions and gated MLPs (Hsu et al. 2024, arXiv:2410.10989), put in by transformers.

Its fused losses stay out: Luthier's score never builds all logits anyway (models/logps.py).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from luthier.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from luthier.config import Config

LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}


def require_kernels(config: Config, device: str | torch.device) -> None:
    """ModelError where enable_liger_kernel is set and the GPU or the package is missing."""
    if not config.enable_liger_kernel:
        return
    if not str(device).startswith(("cuda", "xpu")):
        raise ModelError(
            "enable_liger_kernel: Liger's kernels are written for GPUs, and this training runs on the CPU.",
            "Take enable_liger_kernel out.",
        )
    if find_spec("liger_kernel") is None:
        raise ModelError("enable_liger_kernel needs liger-kernel, which is not installed.", "pip install 'luthier[liger]'")


def use_kernels(config: Config, model: PreTrainedModel) -> None:
    """Replace what the kernels know of model's layers, in place, where enable_liger_kernel is set."""
    if not config.enable_liger_kernel:
        return
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {**(config.liger_kernel_config or {}), **LOSSES})
