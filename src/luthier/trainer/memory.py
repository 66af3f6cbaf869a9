"""How much memory a training took, and whether an error means that there was not enough."""

from __future__ import annotations

import resource
import sys

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA says so by type; the CPU allocator only by its message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def peak_memory_bytes(device: torch.device) -> int:
    """On a GPU the most that tensors held; elsewhere the largest resident size of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
