"""Several optimizers, each for parameters of its own, that look like one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch


class Joined(torch.optim.Optimizer):
    """parts share one state, so that checkpoints and schedules need not know of them."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]):
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {"lr": groups[0]["lr"]})
        self.param_groups = groups
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self._parts = list(parts)
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = closure() if closure else None
        for part in self._parts:
            part.step()
        return loss
