"""How much memory a training took, and whether an error means that there was not enough."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA says so by type; the CPU allocator only by its message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def empty_cache(device: torch.device) -> None:
    """Memory that torch keeps for later and nothing uses now goes back to the device, where other programs may take it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def peak_memory_bytes(device: torch.device) -> int:
    """On a GPU the most that tensors held; elsewhere the largest resident size of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform.startswith("linux"):  # ru_maxrss would count the program in that started this one
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
