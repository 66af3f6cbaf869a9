"""How fast this machine multiplies matrices: measured in a few milliseconds, for the forecast of time."""

from __future__ import annotations

import time
from functools import cache

import torch

SHAPES = {"cpu": (512, 512, 512), "cuda": (4096, 4096, 4096)}  # tokens, in, out
REPEATS = 3


@cache
def flops_per_second(device_type: str, dtype: torch.dtype) -> float | None:
    """Floating point operations a second of a matrix product, best of three; None where this device cannot be measured here."""
    if device_type not in SHAPES or (device_type == "cuda" and not torch.cuda.is_available()):
        return None
    rows, inner, columns = SHAPES[device_type]
    left = torch.ones(rows, inner, dtype=dtype, device=device_type)
    right = torch.ones(inner, columns, dtype=dtype, device=device_type)
    best = float("inf")
    for _ in range(REPEATS + 1):  # the first one warms up
        start = time.perf_counter()
        left @ right
        if device_type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best
