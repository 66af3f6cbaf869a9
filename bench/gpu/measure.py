"""What one run of one side is asked for, and what it reports. Tokens are real tokens; the first steps are not timed."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, field

WARMUP_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """samples_per_step: what one optimizer step learns from.  micro_rows: rows of `length` tokens that go through the model at
    once.  kind: of bench/gpu/rows.py.  attention: of the plain loop; Luthier's own is inside segments.
    checkpointing: "off", "on", or "planned": Luthier's planner chooses it, and how many tokens go through at once, as it does
    for its users."""

    side: str
    model: str
    device: str = "cuda"
    tiny: bool = False
    kind: str = "full"
    length: int = 4096
    micro_rows: int = 2
    samples_per_step: int = 8
    steps: int = 8
    checkpointing: str = "off"
    rank: int = 16
    attention: str = "sdpa"


@dataclass(slots=True, kw_only=True)
class Measured:
    """times: seconds at which each step had ended.  tokens: real tokens of each step.  parameters: of the base model."""

    times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    parameters: int = 0
    peak_bytes: int = 0

    @property
    def tokens_per_second(self) -> float:
        """From the end of step WARMUP_STEPS to the end of the last."""
        return sum(self.tokens[WARMUP_STEPS:]) / (self.times[-1] - self.times[WARMUP_STEPS - 1])


def peak_bytes(device: str) -> int:
    """The most that tensors held on the GPU; on a CPU the largest resident size of this process."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def matmul_rate(device: str, size: int) -> float:
    """FLOP/s of a bfloat16 (on a CPU float32) product of size x size matrices, the best of ten."""
    import time

    import torch

    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(13):
        synchronize(device)
        start = time.perf_counter()
        left @ right
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
