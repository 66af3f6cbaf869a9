"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): matrices move by their orthogonalised momentum.

torch has the same optimizer, which orthogonalises in bfloat16 whatever the device; many CPUs need fifty times as long for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, as its author chose them."""


class Muon(torch.optim.Optimizer):
    """For matrices alone. lr: AdamW's, since updates are scaled to AdamW's size (0.2 sqrt(max(m, n)), arXiv:2502.16982)."""

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        steps: int = 5,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "steps": steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state, momentum = self.state[parameter], group["momentum"]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - momentum)
                direction = orthogonal(parameter.grad.lerp(state["momentum"], momentum), group["steps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(parameter.shape))
                parameter.add_(direction.to(parameter.dtype), alpha=-group["lr"] * size)
        return loss


def orthogonal(matrix: Tensor, steps: int) -> Tensor:
    """About the nearest matrix whose singular values are all 1, by Newton and Schulz's iteration; the same shape."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
