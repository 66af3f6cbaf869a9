"""Weights that move while the backward pass still runs: a gradient is used and freed as soon as it is whole.

The memory of all gradients shrinks to that of the largest one, where a step fits into one micro-batch; with several, gradients
add up as ever and the last backward pass moves the weights. Either way the numbers are those of a plain step (law 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from luthier.config import Config


class MovesAlone(Protocol):
    """An optimizer that can move one parameter by its gradient, whatever the others do; step() moves all that have one."""

    param_groups: list[dict]

    def move(self, parameter: nn.Parameter) -> None: ...


def moves_early(config: Config) -> bool:
    """Whether gradients are used as they come: the layerwise keys and names, and the LOMO family."""
    layerwise = (config.use_galore and config.galore_layerwise) or (config.use_apollo and config.apollo_layerwise)
    return layerwise or str(config.optim).endswith("_layerwise") or config.optim in ("lomo", "adalomo")


class AsTheyCome:
    """Moves each parameter of optimizer within `armed`, as soon as a backward pass has summed its gradient."""

    def __init__(self, optimizer: MovesAlone):
        self._optimizer = optimizer
        self._armed = False
        self._squares: list[Tensor] = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(self._move)

    @property
    def has_moved(self) -> bool:
        """Whether weights have moved since the norm was taken: the step can no longer be done again."""
        return bool(self._squares)

    @contextmanager
    def armed(self, yes: bool = True) -> Iterator[None]:
        self._armed = yes
        try:
            yield
        finally:
            self._armed = False

    def take_norm(self) -> float:
        """The norm of all gradients of the step that has ended."""
        squares, self._squares = self._squares, []
        return math.sqrt(float(torch.stack(squares).sum())) if squares else 0.0

    @torch.no_grad()
    def _move(self, parameter: nn.Parameter) -> None:
        if self._armed:
            self._squares.append(parameter.grad.float().square().sum())
            self._optimizer.move(parameter)
            parameter.grad = None
