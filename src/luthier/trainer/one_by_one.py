"""The step of an optimizer that moves every parameter by its own gradient alone: what is left to say is one `update`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class OneByOne(torch.optim.Optimizer):
    """A step calls update for each parameter that has a gradient, group by group."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """closure, result: as torch.optim.Optimizer has them."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group)
        return loss

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        """Move parameter in place, keeping what must be remembered in self.state[parameter]."""
        raise NotImplementedError
