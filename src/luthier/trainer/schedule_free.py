"""Schedule-free AdamW, SGD and RAdam (Defazio et al. 2024, arXiv:2405.15682): an average of the weights in place of a schedule.

Gradients are taken at y, steps are made at z, and what is evaluated and saved is their average x; y = (1 - beta) z + beta x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from luthier.trainer.one_by_one import OneByOne


class ScheduleFree(OneByOne):
    """kind: "adamw", "sgd" or "radam". Weights are at y while `learning`, else at x.

    betas[0]: how far y is from z to x.  warmup: steps of rising rate (kinds adamw and sgd).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        kind: str,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup: int = 0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._kind, self._warmup = kind, warmup
        self.learning = True

    def eval(self) -> None:
        """Put the weights where they are evaluated and saved."""
        if self.learning:
            self._blend(lambda beta: 1 - 1 / beta)
        self.learning = False

    def train(self) -> None:
        """Put them back where they learn."""
        if not self.learning:
            self._blend(lambda beta: 1 - beta)
        self.learning = True

    def resumed(self) -> None:
        """After weights (as eval left them) and state were restored."""
        self.learning = False
        self.train()

    @torch.no_grad()
    def _blend(self, share: Callable[[float], float]) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if "z" in self.state[parameter]:
                    parameter.lerp_(self.state[parameter]["z"].to(parameter.dtype), share(group["betas"][0]))

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient, (beta, second) = self.state[parameter], parameter.grad.clone(), group["betas"]
        if "z" not in state:
            state["step"] = torch.zeros(3, dtype=torch.float64)  # steps done, sum of their weights, highest rate
            state["z"] = parameter.detach().clone()
            if self._kind != "sgd":
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        done, weights, highest = state["step"].tolist()
        step = done + 1
        rate = group["lr"] * self._factor(step, second)
        highest = max(highest, rate)
        weights += highest**2
        state["step"] = torch.tensor([step, weights, highest], dtype=torch.float64)
        if self._kind != "sgd":
            state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
            gradient /= (state["exp_avg_sq"] / (1 - second**step)).sqrt_().add_(group["eps"])
        gradient.add_(parameter, alpha=group["weight_decay"])
        share = highest**2 / weights if weights else 0.0
        parameter.lerp_(state["z"], share).add_(gradient, alpha=rate * (beta * (1 - share) - 1))
        state["z"].sub_(gradient, alpha=rate)

    def _factor(self, step: float, second: float) -> float:
        """What the learning rate is multiplied with at this step, the first being 1."""
        if self._kind == "radam":
            return _rectified(step, second)
        return min(1.0, step / self._warmup) if self._warmup else 1.0


def _rectified(step: float, second: float) -> float:
    """RAdam's factor, 0 while the variance is not tractable. Section 5 of Liu et al. 2019, arXiv:1908.03265."""
    longest = 2 / (1 - second) - 1
    now = longest - 2 * step * second**step / (1 - second**step)
    if now <= 4:
        return 0.0
    return math.sqrt((now - 4) * (now - 2) * longest / ((longest - 4) * (longest - 2) * now))
