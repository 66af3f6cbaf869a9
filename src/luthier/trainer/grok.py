"""GrokAdamW: AdamW of gradients to which their own slow average is added, so that what generalises is learned earlier.

The rule of the package grokadamw 0.1.2, which transformers names; the slow average is Lee et al. 2024, arXiv:2405.20233. What
the package keeps outside its state lies in the state here, in float32 beside the weights, so that a checkpoint holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from luthier.trainer.one_by_one import OneByOne


class GrokAdamW(OneByOne):
    """alpha_init: decay of the slow average.  lamb: its weight in the gradient.  gamma: share by which the first moment's decay
    shrinks from each parameter of a group to the next.  gradient_clipping: largest norm of one parameter's gradient, 0: none.

    The package's grokking signal, which could lower alpha, is given by no trainer: alpha stays alpha_init.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        alpha_init: float = 0.98,
        lamb: float = 2.0,
        gamma: float = 0.1,
        gradient_clipping: float = 1.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._alpha, self._weight, self._gamma, self._largest = alpha_init, lamb, gamma, gradient_clipping
        self._number = {p: number for group in self.param_groups for number, p in enumerate(group["params"])}

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, (first, second), gradient = self.state[parameter], group["betas"], parameter.grad.float()
        if "exp_avg" not in state:
            state["step"] = torch.tensor(0.0)
            for name in ("exp_avg", "exp_avg_sq", "grok_ema"):
                state[name] = torch.zeros_like(gradient)
        state["step"] += 1
        step = float(state["step"])
        gradient = gradient * ((self._largest or math.inf) / (gradient.norm() + 1e-6)).clamp_max(1.0)
        slow = state["grok_ema"].lerp_(gradient, 1 - self._alpha)
        gradient.add_(slow, alpha=self._weight)
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - first * (1 - self._gamma) ** self._number[parameter])
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        rate = group["lr"] * (1 - second**step) ** 0.5 / (1 - first**step)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        spread = torch.sqrt(square, out=gradient).add_(group["eps"])
        parameter.sub_(torch.div(mean, spread, out=spread).to(parameter.dtype), alpha=rate)
