"""StableAdamW (Wortsman et al. 2023, arXiv:2304.13013): AdamW whose rate drops for a parameter that is about to jump."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from luthier.trainer.one_by_one import OneByOne


class StableAdamW(OneByOne):
    """Algorithm 2: the rate is divided by max(1, RMS), RMS^2 = mean(g^2 / max(v, eps^2)); moments as in AdamW, whose bias is
    taken out of the decays themselves.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient, eps = self.state[parameter], parameter.grad.float(), group["eps"]
        if "exp_avg" not in state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        step = float(state["step"])
        first, second = (beta * (1 - beta ** (step - 1)) / (1 - beta**step) for beta in group["betas"])
        mean, square = state["exp_avg"].lerp_(gradient, 1 - first), state["exp_avg_sq"]
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        jump = gradient.square().div_(square.clamp_min(eps**2)).mean().sqrt()
        rate = group["lr"] / jump.clamp_min(1.0)
        parameter.mul_(1 - rate * group["weight_decay"])
        spread = square.sqrt().add_(eps)
        parameter.sub_(torch.div(mean, spread, out=spread).mul_(rate).to(parameter.dtype))
