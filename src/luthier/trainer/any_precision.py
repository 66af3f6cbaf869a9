"""AnyPrecisionAdamW, transformers' adamw_anyprecision: AdamW whose moments have number formats of their own, and which can keep
what weights in bfloat16 lose by rounding. The package that it comes from, torchdistx, is no longer maintained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from luthier.errors import ConfigError
from luthier.trainer.directions import adam_of
from luthier.trainer.one_by_one import OneByOne

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AnyPrecisionAdamW(OneByOne):
    """Steps are computed in float32, whatever is kept.

    use_kahan_summation: what a step would add and rounding leaves out is kept and added to the next (Kahan 1965), in
    compensation_buffer_dtype; so weights in bfloat16 learn nearly as those in float32 (Zamirai et al. 2020, arXiv:2010.06192).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        use_kahan_summation: bool = False,
        momentum_dtype: str = "float32",
        variance_dtype: str = "float32",
        compensation_buffer_dtype: str = "bfloat16",
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._kept = {"exp_avg": _format(momentum_dtype), "exp_avg_sq": _format(variance_dtype)}
        if use_kahan_summation:
            self._kept["compensation"] = _format(compensation_buffer_dtype)

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, weight = self.state[parameter], parameter.float()
        if "exp_avg" not in state:
            state["step"] = torch.tensor(0.0)
            state |= {name: torch.zeros_like(parameter, dtype=dtype) for name, dtype in self._kept.items()}
        state["step"] += 1
        mean, square = state["exp_avg"].float(), state["exp_avg_sq"].float()
        change = adam_of(mean, square, parameter.grad.float(), group, step=float(state["step"]))
        change.add_(weight, alpha=group["weight_decay"]).mul_(-group["lr"])
        state["exp_avg"].copy_(mean)
        state["exp_avg_sq"].copy_(square)
        if "compensation" in state:
            change += state["compensation"]
            moved = (weight + change).to(parameter.dtype)
            state["compensation"].copy_(change - (moved.float() - weight))
        else:
            moved = change.add_(weight)
        parameter.copy_(moved)


def _format(name: str) -> torch.dtype:
    if name not in FORMATS:
        raise ConfigError(f"optim_args: {name} is no number format.", f"There are {', '.join(FORMATS)}.")
    return FORMATS[name]
