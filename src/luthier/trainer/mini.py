"""Adam-mini (Zhang et al. 2024, arXiv:2406.16793): one second moment for a block of weights, half of AdamW's memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from luthier.trainer.one_by_one import OneByOne

BY_HEAD = ("q_proj", "k_proj")
"""Weights whose blocks are attention heads; other matrices are divided by output, vectors not at all, biases into single
numbers."""


class MiniAdamW(OneByOne):
    """AdamW, but that a block of weights shares the mean of its squared gradients. blocks: parameter -> number of blocks."""

    def __init__(
        self,
        params: Iterable[Any],
        blocks: Mapping[nn.Parameter, int],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._blocks = blocks

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        gradient = parameter.grad.float().view(self._blocks[parameter], -1)
        square = gradient.square().mean(1, keepdim=True)
        if "exp_avg" not in state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(square)
        state["step"] += 1
        step = float(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].lerp_(square, 1 - second)
        spread = state["exp_avg_sq"].sqrt() / math.sqrt(1 - second**step) + group["eps"]
        direction = state["exp_avg"] / (spread * (1 - first**step))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.view_as(parameter).to(parameter.dtype), alpha=-group["lr"])


def count_blocks(model: nn.Module, head_size: int) -> dict[nn.Parameter, int]:
    """How many blocks each learning parameter has. head_size: values of an attention head."""
    return {p: _blocks(name, p, head_size) for name, p in model.named_parameters() if p.requires_grad}


def _blocks(name: str, parameter: nn.Parameter, head_size: int) -> int:
    """model.layers.0.self_attn.q_proj.weight (256, 128), heads of 64 -> 4; lora_A of it has no heads on its way out."""
    if parameter.ndim < 2:
        return parameter.numel() if name.endswith("bias") else 1
    by_head = any(part in name for part in BY_HEAD) and "lora_A" not in name and parameter.shape[0] % head_size == 0
    return parameter.shape[0] // head_size if by_head else parameter.shape[0]
