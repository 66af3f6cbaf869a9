"""Number formats of a run: what was asked (bf16, fp16, pure_bf16, infer_dtype) against what the device can do well.

Enters: the config, a Device and the dtype in which the weights are stored. Leaves: a Precision, with a note where it differs
from what was asked. Never falls back in silence.

    asked              full: weights, compute     lora, freeze: frozen weights, compute (what learns stays float32)
    nothing            float32, float32           as stored, as stored
    bf16               float32, bfloat16          bfloat16, bfloat16
    fp16               float32, float16 + scaler  float16, float16 + scaler
    pure_bf16          bfloat16, bfloat16 (no autocast; what learns is bfloat16 too)
    cannot be done     float32, float32
"""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from luthier.config import Config
    from luthier.runtime.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """param_dtype: of the weights as loaded.  compute_dtype: of matrix products.  autocast: whether the two differ or may.

    grad_scaler: float16 gradients need scaling.  note: one sentence for the user where this is not what was asked; else "".
    """

    device_type: str
    param_dtype: torch.dtype
    compute_dtype: torch.dtype
    autocast: bool = False
    grad_scaler: bool = False
    note: str = ""

    def context(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass; nothing where autocast is off."""
        import torch

        return torch.autocast(self.device_type, self.compute_dtype) if self.autocast else contextlib.nullcontext()

    def __str__(self) -> str:
        """As people say it: `bfloat16, weights float32`."""
        compute, param = (str(dtype).removeprefix("torch.") for dtype in (self.compute_dtype, self.param_dtype))
        return compute if compute == param else f"{compute}, weights {param}"


def training_precision(config: Config, device: Device, stored: torch.dtype | None = None) -> Precision:
    """The precision of a training. stored: the dtype in the model's files (None: unknown, taken as float32)."""
    import torch

    asked = _asked(config)
    wanted = {"pure_bf16": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}.get(asked)
    if wanted is None and config.finetuning_type != "full" and stored in (torch.bfloat16, torch.float16):
        wanted = stored
    reason = obstacle(wanted, device) if wanted else ""
    if wanted is None or reason:
        note = f"{asked} was asked for, but {reason}: training in float32." if reason and asked else ""
        return Precision(device_type=device.kind, param_dtype=torch.float32, compute_dtype=torch.float32, note=note)
    if asked == "pure_bf16":
        return Precision(device_type=device.kind, param_dtype=wanted, compute_dtype=wanted)
    return Precision(
        device_type=device.kind,
        param_dtype=torch.float32 if config.finetuning_type == "full" else wanted,
        compute_dtype=wanted,
        autocast=True,
        grad_scaler=wanted == torch.float16,
    )


def choose_tf32(wanted: bool | None, device: Device) -> str:
    """Let float32 matrix products round their factors to TF32 (10 bits of mantissa), or forbid it; None leaves it as it is.

    Returns one sentence for the user where the device has no TF32; else "".
    """
    import torch

    if wanted is not None:
        torch.set_float32_matmul_precision("high" if wanted else "highest")
    if wanted and (device.kind != "cuda" or torch.cuda.get_device_capability(device.torch) < (8, 0)):
        return f"tf32 was asked for, but {device.name or device} has none: float32 products stay as they are."
    return ""


def inference_precision(config: Config, device: Device, stored: torch.dtype | None = None) -> Precision:
    """The precision of answering: infer_dtype where set, else as stored, where the device can."""
    import torch

    asked = config.infer_dtype if config.infer_dtype != "auto" else ""
    wanted = getattr(torch, asked) if asked else stored or torch.float32
    reason = obstacle(wanted, device)
    note = f"infer_dtype: {asked} was asked for, but {reason}: answering in float32." if reason and asked else ""
    dtype = torch.float32 if reason else wanted
    return Precision(device_type=device.kind, param_dtype=dtype, compute_dtype=dtype, note=note)


def obstacle(dtype: torch.dtype, device: Device) -> str:
    """Why the device should not compute in dtype, as half a sentence; "" where it should."""
    import torch

    if dtype not in (torch.bfloat16, torch.float16):
        return ""
    name = str(dtype).removeprefix("torch.")
    if device.kind == "cpu":
        if dtype == torch.float16:
            return "float16 is slow on CPUs"
        slowdown = bfloat16_slowdown()
        return f"this CPU multiplies {name} {slowdown:.0f} times slower than float32" if slowdown > 1.2 else ""
    if device.kind == "cuda" and dtype == torch.bfloat16 and not _has_bfloat16(device):
        return f"{device.name or 'this GPU'} has no bfloat16 (fp16: true works there)"
    return ""


def _has_bfloat16(device: Device) -> bool:
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False) if device.bfloat16 is None else device.bfloat16


@cache
def bfloat16_slowdown() -> float:
    """Time of a bfloat16 matrix product over that of a float32 one on this CPU, one thread, best of five; about 50 ms.

    Measured: the instruction sets that help (AVX512-BF16, AMX, SVE) have many names, and libraries differ in using them.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a busy machine stretches a short parallel product at random
    try:
        seconds = {dtype: _matmul_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)
    return seconds[torch.bfloat16] / seconds[torch.float32]


def _matmul_seconds(dtype: torch.dtype) -> float:
    import torch

    left, right = torch.ones(128, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return best


def _asked(config: Config) -> str:
    return next((key for key in ("pure_bf16", "bf16", "fp16") if getattr(config, key)), "")
