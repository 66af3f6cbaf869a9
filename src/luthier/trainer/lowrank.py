"""Optimizers whose memory lives in a low-rank space: GaLore and APOLLO, for full tuning with little optimizer memory.

A group with `rank` is projected, others learn plainly by the same direction. A weight of (m, n) keeps 2 r max(m, n) numbers for
AdamW instead of 2 m n, and its projection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from luthier.trainer.directions import Direction, adam

LIMIT = 1.01
"""APOLLO: an update may grow by this factor from one step to the next."""


class LowRank(torch.optim.Optimizer):
    """kind: "galore" (Zhao et al. 2024, arXiv:2403.03507) or "apollo" (Zhu et al. 2024, arXiv:2412.05270).
    direction: what is done with a projected gradient.

    Options of a projected group.  rank.  interval: steps between new projections.  scale.  proj_type: which side is projected:
    std (the shorter one), reverse_std, right, left, full (both; GaLore only).  APOLLO also has proj (svd or random), scale_type
    (channel or tensor) and scale_front (scale before the growth is limited).
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        kind: str,
        direction: Direction = adam,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        seed: int = 0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._kind, self._direction, self._seed = kind, direction, seed
        self._place = {p: (group, number) for group in self.param_groups for number, p in enumerate(group["params"])}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = closure() if closure else None
        for parameter in self._place:
            if parameter.grad is not None:
                self.move(parameter)
        return loss

    def move(self, parameter: nn.Parameter) -> None:
        """Move this parameter by its gradient, alone (trainer/layerwise.py)."""
        group, number = self._place[parameter]
        state, gradient = self.state[parameter], parameter.grad.float()
        done = int(state.get("step", 0))
        state["step"] = torch.tensor(float(done + 1))
        rank = group.get("rank")
        projected = rank is not None and gradient.ndim == 2
        if projected and done % group["interval"] == 0:
            self._project(state, gradient, group, seed=hash((self._seed, number, done)) % 2**31)
        low = _into(state, gradient) if projected else gradient
        direction = self._direction(state, low, group)
        if projected and self._kind == "galore":
            direction = _out_of(state, direction) * group["scale"]
        elif projected:
            direction = _rescaled(state, gradient, low, direction, group)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.to(parameter.dtype), alpha=-group["lr"])

    def _project(self, state: dict[str, Tensor], gradient: Tensor, group: dict[str, Any], seed: int) -> None:
        """A new projection: left (m, r), right (r, n), or both."""
        rank, kind = min(group["rank"], *gradient.shape), group["proj_type"]
        tall = gradient.shape[0] >= gradient.shape[1]
        right = {"std": tall, "reverse_std": not tall, "right": True, "left": False, "full": True}[kind]
        left = kind == "full" or not right
        if group.get("proj") == "random":
            generator = torch.Generator().manual_seed(seed)
            size = gradient.shape[1] if right else gradient.shape[0]
            drawn = (torch.randn(rank, size, generator=generator) / math.sqrt(rank)).to(gradient.device)
            state["right" if right else "left"] = drawn if right else drawn.T.contiguous()
            return
        u, _, v = torch.linalg.svd(gradient, full_matrices=False)
        if left:
            state["left"] = u[:, :rank].contiguous()
        if right:
            state["right"] = v[:rank].contiguous()


def _into(state: dict[str, Tensor], gradient: Tensor) -> Tensor:
    low = state["left"].T @ gradient if "left" in state else gradient
    return low @ state["right"].T if "right" in state else low


def _out_of(state: dict[str, Tensor], low: Tensor) -> Tensor:
    wide = state["left"] @ low if "left" in state else low
    return wide @ state["right"] if "right" in state else wide


def _rescaled(state: dict[str, Tensor], gradient: Tensor, low: Tensor, direction: Tensor, group: dict[str, Any]) -> Tensor:
    """APOLLO: the gradient itself, each channel scaled as Adam scaled it in the low-rank space, held from growing at once."""
    if group["scale_type"] == "channel":
        dim = 0 if low.shape[0] < low.shape[1] else 1
        factor = direction.norm(dim=dim, keepdim=True) / (low.norm(dim=dim, keepdim=True) + 1e-8)
    else:
        factor = direction.norm() / (low.norm() + 1e-8)
    root = math.sqrt(group["scale"])
    scaled = gradient * factor * (root if group["scale_front"] else 1.0)
    norm = scaled.norm()
    if "norm" in state:
        limiter = (norm / (state["norm"] + 1e-8)).clamp_min(LIMIT) / LIMIT
        scaled, norm = scaled / limiter, norm / limiter
    state["norm"] = norm
    return scaled if group["scale_front"] else scaled * root
