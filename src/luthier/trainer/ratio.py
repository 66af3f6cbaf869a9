"""BAdam by single weights (badam_mode: ratio): a share of each matrix learns at a time, with moments for that share alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

WHOLE_BELOW = 100
"""A parameter of fewer numbers learns as a whole."""


class RatioAdamW(torch.optim.Optimizer):
    """AdamW on round(ratio * n) of the n numbers of each parameter; after `interval` steps the next ones have their turn, and
    the moments of the last are forgotten (Luo et al. 2024, arXiv:2404.02827, section 2 with blocks of numbers).

    mask: adjacent (neighbours in memory) or scatter (drawn once, from seed).  Which numbers learn is a function of the number
    of steps alone.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        ratio: float,
        mask: str,
        interval: int,
        seed: int,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._ratio, self._scattered, self._interval, self._seed = ratio, mask == "scatter", interval, seed
        self._chosen: dict[nn.Parameter, tuple[int, Tensor]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = closure() if closure else None
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, number)
                number += 1
        return loss

    def _update(self, parameter: nn.Parameter, group: dict[str, Any], number: int) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        done = int(state.get("step", 0))
        state["step"] = torch.tensor(float(done + 1))
        turn, age = divmod(done, self._interval)
        chosen = self._numbers(parameter, turn, number)
        gradient = parameter.grad.view(-1)[chosen].float()
        if age == 0:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        spread = state["exp_avg_sq"].sqrt() / math.sqrt(1 - second ** (age + 1)) + group["eps"]
        move = state["exp_avg"] / (1 - first ** (age + 1)) / spread
        flat = parameter.view(-1)
        flat[chosen] = (flat[chosen] * (1 - group["lr"] * group["weight_decay"]) - group["lr"] * move).to(parameter.dtype)

    def _numbers(self, parameter: nn.Parameter, turn: int, number: int) -> Tensor:
        """Places in the flat parameter that learn in this turn; made once a turn."""
        kept = self._chosen.get(parameter)
        if kept is None or kept[0] != turn:
            kept = self._chosen[parameter] = turn, self._draw(parameter, turn, number)
        return kept[1]

    def _draw(self, parameter: nn.Parameter, turn: int, number: int) -> Tensor:
        size = parameter.numel()
        count = size if size < WHOLE_BELOW else max(1, round(size * self._ratio))
        places = (turn * count + np.arange(count)) % size
        if self._scattered:
            places = np.random.Generator(np.random.PCG64([self._seed, number])).permutation(size)[places]
        return torch.from_numpy(places).to(parameter.device)
