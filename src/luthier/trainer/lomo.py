"""LOMO and AdaLOMO: full tuning without moments, by gradients that are freed as they come (trainer/layerwise.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from luthier.trainer.directions import adafactor, size_of

LEAST = 1e-3
"""AdaLOMO: the least size that a weight counts as."""


class Lomo(torch.optim.Optimizer):
    """Plain gradient descent, w <- w - lr g (Lv et al. 2023, arXiv:2306.09782). It keeps nothing between steps."""

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._group_of = {parameter: group for group in self.param_groups for parameter in group["params"]}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = closure() if closure else None
        for parameter in self._group_of:
            if parameter.grad is not None:
                self.move(parameter)
        return loss

    def move(self, parameter: nn.Parameter) -> None:
        group, gradient = self._group_of[parameter], parameter.grad.float()
        self._apply(parameter, gradient, group["lr"], group["weight_decay"])

    def _apply(self, parameter: nn.Parameter, update: Tensor, rate: float | Tensor, weight_decay: float) -> None:
        weight = parameter.float()  # bfloat16 weights are moved in float32 and rounded once
        parameter.copy_(weight * (1 - rate * weight_decay) - rate * update)


class AdaLomo(Lomo):
    """Adafactor's direction, scaled with the size of the weight. Algorithm 1 of Lv et al. 2023, arXiv:2310.10195."""

    def move(self, parameter: nn.Parameter) -> None:
        group, state = self._group_of[parameter], self.state[parameter]
        state["step"] = torch.tensor(float(state.get("step", 0.0)) + 1)
        update = adafactor(state, parameter.grad.float(), group)
        rate = group["lr"] * size_of(parameter.float()).clamp_min(LEAST)
        self._apply(parameter, update, rate, group["weight_decay"])
