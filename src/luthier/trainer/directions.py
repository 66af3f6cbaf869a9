"""Directions: where a parameter goes for its gradient and what is remembered of those before, without the learning rate.

Rules that several optimizers share. Enters: the state of one parameter (plain tensors), whose "step" counts this step already;
its gradient in float32; its group. Leaves: a tensor like the gradient. No weight is moved here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
Direction = Callable[[State, Tensor, dict[str, Any]], Tensor]

TINY = 1e-30
"""Adafactor: added to squared gradients."""
FADING, LARGEST = -0.8, 1.0
"""Adafactor: power of the step at which old squares fade; root mean square to which an update is held."""


def adam(state: State, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Of Adam (Kingma and Ba 2014, arXiv:1412.6980), bias corrected. group: betas, eps."""
    if "exp_avg" not in state:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    return adam_of(state["exp_avg"], state["exp_avg_sq"], gradient, group, step=float(state["step"]))


def adam_of(mean: Tensor, square: Tensor, gradient: Tensor, group: dict[str, Any], *, step: float) -> Tensor:
    """The same of moments in float32, which take the gradient in."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    spread = (square / (1 - second**step)).sqrt_().add_(group["eps"])
    return torch.div(mean, spread, out=spread).div_(1 - first**step)


def adafactor(state: State, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Of Adafactor without a first moment, at a rate that is given (Shazeer and Stern 2018, arXiv:1804.04235): the squares of a
    matrix are kept as the means of its rows and columns. No option of group is read."""
    fresh = float(state["step"]) ** FADING
    square = gradient.square().add_(TINY)
    if gradient.ndim < 2:
        update = gradient * _faded(state, "square", square, fresh).rsqrt()
    else:
        row, column = _faded(state, "row", square.mean(-1), fresh), _faded(state, "column", square.mean(-2), fresh)
        update = torch.mul(gradient, (row / row.mean(-1, keepdim=True)).rsqrt()[..., None], out=square)
        update.mul_(column.rsqrt()[..., None, :])
    return update.div_((size_of(update) / LARGEST).clamp_min(1.0))


def size_of(tensor: Tensor) -> Tensor:
    """The root mean square of its numbers."""
    return tensor.norm() / math.sqrt(tensor.numel())


def _faded(state: State, name: str, new: Tensor, share: float) -> Tensor:
    """The moving average of that name, after `new` has entered with its share."""
    state[name] = state[name].lerp_(new, share) if name in state else new.clone()
    return state[name]
