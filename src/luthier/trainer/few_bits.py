"""Adam's moments in 8 or 4 bits, with no package: a quarter or an eighth of their memory.

A block of neighbouring numbers shares its largest size in float32, and each is the nearest of 256 or 16 levels of that. The
state is plain tensors, which checkpoints hold as they are: codes in exp_avg and exp_avg_sq, sizes in exp_avg_scale and
exp_avg_sq_scale. Small parameters keep float32, as in bitsandbytes and torchao, whose optimizers these follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from luthier.errors import ConfigError
from luthier.trainer.directions import State, adam, adam_of
from luthier.trainer.one_by_one import OneByOne

LEAST = 4096
"""Parameters of fewer numbers keep them in float32."""
PIECE = 1 << 14
"""Blocks that are whole at a time, which bounds the memory of a step (4 million numbers where a block has 256)."""
SMALLEST = 1e-12
"""Least size of a block."""


class AdamWInBits(OneByOne):
    """AdamW with moments of `bits`, 8 or 4: adamw_torch_8bit and adamw_torch_4bit, which transformers takes from torchao.

    block_size: numbers that share a size, even.  bf16_stochastic_round: weights in bfloat16 are rounded up or down by chance,
    so that their mean is right. Raises ConfigError where there are no such blocks or weights.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        bits: int,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        block_size: float = 256,
        bf16_stochastic_round: bool = False,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        if block_size < 2 or block_size % 2:
            raise ConfigError(f"optim_args: block_size is {block_size:g}, not an even number.", "Write block_size=256.")
        kinds = {parameter.dtype for group in self.param_groups for parameter in group["params"]}
        if bf16_stochastic_round and torch.bfloat16 not in kinds:
            raise ConfigError(
                "optim_args: bf16_stochastic_round rounds weights in bfloat16, and here are none.", "Set pure_bf16: true."
            )
        self._adam = AdamInBits(bits=bits, block=int(block_size))
        self._by_chance = bf16_stochastic_round

    def update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        state["step"] = torch.tensor(float(state.get("step", 0.0)) + 1)
        by_chance = self._by_chance and parameter.dtype == torch.bfloat16
        weights = parameter.view(-1)
        for numbers, direction in self._adam.pieces(state, parameter.grad, group):
            weight = weights[numbers].float() * (1 - group["lr"] * group["weight_decay"])
            weight.sub_(direction, alpha=group["lr"])
            weights[numbers] = rounded_by_chance(weight) if by_chance else weight.to(parameter.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamInBits:
    """A Direction (trainer/directions.py). bits: 8 or 4.  block: numbers that share a scale, even."""

    bits: int
    block: int = 256

    def __call__(self, state: State, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        out = torch.empty(gradient.numel(), device=gradient.device)
        for numbers, direction in self.pieces(state, gradient, group):
            out[numbers] = direction
        return out.view(gradient.shape)

    def pieces(self, state: State, gradient: Tensor, group: dict[str, Any]) -> Iterator[tuple[slice, Tensor]]:
        """The same, flat and one piece after the other: (where, direction)."""
        flat, count = gradient.reshape(-1), gradient.numel()
        if count < LEAST:
            yield slice(count), adam(state, flat.float(), group)
            return
        if "exp_avg" not in state:
            blocks = -(-count // self.block)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros(blocks, self.block * self.bits // 8, dtype=torch.uint8, device=flat.device)
                state[f"{name}_scale"] = torch.zeros(blocks, 1, device=flat.device)
        for begin in range(0, len(state["exp_avg"]), PIECE):
            blocks, numbers = slice(begin, begin + PIECE), slice(begin * self.block, (begin + PIECE) * self.block)
            part = flat[numbers].float()
            mean, square = (self._read(state, name, blocks, part.numel()) for name in ("exp_avg", "exp_avg_sq"))
            yield numbers, adam_of(mean, square, part, group, step=float(state["step"]))
            self._write(state, "exp_avg", blocks, mean)
            self._write(state, "exp_avg_sq", blocks, square)

    def _read(self, state: State, name: str, blocks: slice, count: int) -> Tensor:
        codes = state[name][blocks]
        if self.bits == 4:
            codes = torch.stack((codes >> 4, codes & 15), dim=-1)
        levels = codebook(self.bits, name == "exp_avg", codes.device).levels
        return (levels.index_select(0, codes.int().view(-1)).view(-1, self.block) * state[f"{name}_scale"][blocks]).view(-1)[
            :count
        ]

    def _write(self, state: State, name: str, blocks: slice, numbers: Tensor) -> None:
        padded = nn.functional.pad(numbers, (0, -numbers.numel() % self.block)).view(-1, self.block)
        scale = padded.abs().amax(1, keepdim=True).clamp_min_(SMALLEST)
        codes = codebook(self.bits, name == "exp_avg", padded.device).nearest(padded / scale).to(torch.uint8)
        state[name][blocks] = codes if self.bits == 8 else (codes[:, ::2] << 4) | codes[:, 1::2]
        state[f"{name}_scale"][blocks] = scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Codebook:
    """levels: what each code means, in rising order.  middles: between each and the next one, and infinity.  first: for the
    upper 16 bits of a float32, the code of the least number that begins with them; the next code is the only other one that a
    number which begins with them can have. (A search in middles takes ten times as long on a CPU.)"""

    levels: Tensor
    middles: Tensor
    first: Tensor

    def nearest(self, numbers: Tensor) -> Tensor:
        """The codes of the levels nearest to numbers in [-1, 1], in the same shape; of two as near the upper one."""
        flat = numbers.view(-1)
        codes = self.first.index_select(0, (flat.view(torch.int32) >> 16) & 0xFFFF).int()
        return codes.add_(flat >= self.middles.index_select(0, codes)).view(numbers.shape)


@cache
def codebook(bits: int, signed: bool, device: torch.device) -> Codebook:
    levels = levels_of(bits, signed)
    middles = (levels[1:] + levels[:-1]) / 2
    upper = torch.arange(1 << 16, dtype=torch.int32, device="cpu") << 16
    least = torch.where(upper < 0, upper | 0xFFFF, upper).view(torch.float32)
    first = torch.bucketize(least, middles, right=True).to(torch.uint8)
    ended = torch.nn.functional.pad(middles, (0, 1), value=math.inf)
    return Codebook(levels=levels.to(device), middles=ended.to(device), first=first.to(device))


def levels_of(bits: int, signed: bool) -> Tensor:
    """The 2**bits numbers in [-1, 1] or [0, 1] that a code may mean, in rising order.

    Dynamic levels, finer the nearer to 0 (Dettmers et al. 2022, arXiv:2110.02861); in 4 bits the squares have equal steps and
    no 0 (Li et al. 2023, arXiv:2309.01507).
    """
    if bits == 4 and not signed:
        return torch.linspace(0, 1, 17, device="cpu")[1:]
    decades = bits - 1
    found = [torch.tensor([0.0, 1.0], device="cpu")]
    for decade in range(decades):
        edges = torch.linspace(0.1, 1, 2 ** (decade if signed else decade + 1) + 1, device="cpu")
        middles = (edges[1:] + edges[:-1]) / 2 * 10.0 ** (decade - decades + 1)
        found += [middles, -middles] if signed else [middles]
    return torch.cat(found).sort().values


def rounded_by_chance(numbers: Tensor) -> Tensor:
    """float32 -> bfloat16: one of the two neighbours, each the more likely the nearer it is."""
    chance = torch.randint(1 << 16, numbers.shape, dtype=torch.int32, device=numbers.device)
    return ((numbers.view(torch.int32) + chance) & -(1 << 16)).view(torch.float32).bfloat16()
