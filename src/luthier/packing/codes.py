"""A weight matrix rounded to a few bits in groups of its inputs: codes, zero points and scales, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """A weight matrix of O outputs and I inputs in G groups of inputs: (code - zero of its group) * scale of its group.

    codes: uint8 (O, I).  zeros: integers (O, G).  scales: floating (O, G).
    group_of: (I,), the group of each input, where it is not simply so that each I / G neighbours share one.
    """

    codes: Tensor
    zeros: Tensor
    scales: Tensor
    group_of: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """float32 (O, I)."""
        return expand(self.codes, self.zeros, self.scales, self.group_of)


def expand(codes_OI: Tensor, zeros_OG: Tensor, scales_OG: Tensor, group_of_I: Tensor | None = None) -> Tensor:
    """The matrix that Codes means, float32 (O, I): float32 holds every difference, so only the product is rounded."""
    if group_of_I is not None:
        groups = group_of_I.long()
        return codes_OI.float().sub_(zeros_OG[:, groups]).mul_(scales_OG[:, groups])
    weight = codes_OI.float()
    parts = weight.view(*scales_OG.shape, -1)  # (O, G, I / G)
    parts.sub_(zeros_OG[..., None]).mul_(scales_OG[..., None])
    return weight


def fold(codes_OI: Tensor, bits: int) -> Tensor:
    """uint8 (O, I * bits / 8): 2, 4 or 8 bits a code, the first in the lowest. I is a multiple of 8 / bits."""
    parts = codes_OI.reshape(len(codes_OI), -1, 8 // bits)
    folded = parts[..., 0].clone()
    for place in range(1, 8 // bits):
        folded |= parts[..., place] << (place * bits)
    return folded


def unfold(folded: Tensor, bits: int) -> Tensor:
    """uint8 (O, I) of what fold made."""
    if bits == 8:
        return folded
    places = [folded >> shift & (2**bits - 1) for shift in range(0, 8, bits)]
    return torch.stack(places, -1).flatten(1)
