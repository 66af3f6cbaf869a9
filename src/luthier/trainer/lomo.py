"""LOMO and AdaLOMO: full tuning without moments, by gradients that are freed as they come (trainer/layerwise.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = (1e-30, 1e-3)
"""AdaLOMO: added to squared gradients; the least size that a weight counts as."""
DECAY, LARGEST = -0.8, 1.0
"""AdaLOMO: power of the step at which old squares fade; root mean square to which an update is held."""


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
    """Gradients divided by the root of their mean squares, kept as rows and columns; the update is held to a root mean square
    of 1 and scaled with the size of the weight. Algorithm 1 of Lv et al. 2023, arXiv:2310.10195.
    """

    def move(self, parameter: nn.Parameter) -> None:
        group, gradient, state = self._group_of[parameter], parameter.grad.float(), self.state[parameter]
        done = float(state.get("step", 0.0)) + 1
        state["step"] = torch.tensor(done)
        fresh = done**DECAY
        square = gradient.square().add_(EPSILON[0])
        if gradient.ndim < 2:
            update = gradient * _faded(state, "square", square, fresh).rsqrt()
        else:
            row, column = _faded(state, "row", square.mean(-1), fresh), _faded(state, "column", square.mean(-2), fresh)
            update = gradient * (row / row.mean(-1, keepdim=True)).rsqrt()[..., None] * column.rsqrt()[..., None, :]
        update /= (_size(update) / LARGEST).clamp_min(1.0)
        rate = group["lr"] * _size(parameter.float()).clamp_min(EPSILON[1])
        self._apply(parameter, update, rate, group["weight_decay"])


def _faded(state: dict[str, Tensor], name: str, new: Tensor, share: float) -> Tensor:
    """The moving average of that name, after `new` has entered with its share."""
    state[name] = state[name].lerp_(new, share) if name in state else new.clone()
    return state[name]


def _size(tensor: Tensor) -> Tensor:
    return tensor.norm() / math.sqrt(tensor.numel())
