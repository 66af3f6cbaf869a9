"""Weights rounded to 4 bits in groups with a zero point each: what AWQ does once the scales are found.

Enters: a weight, and how much each of its inputs matters. Leaves: codes, zero points and scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

from luthier.exporters.gptq_solve import SHRINKS
from luthier.packing.codes import Codes

TOP = 15


def round_groups(weight_OI: Tensor, group: int, importance_I: Tensor | None = None) -> Codes:
    """Every weight to the nearest step between the smallest and the largest of its group.

    importance_I: mean square of each input. With it both ends are drawn in (by SHRINKS) where that brings the outputs nearer.
    """
    parts = weight_OI.float().reshape(len(weight_OI), -1, group)  # (O, G, group)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    if importance_I is None:
        codes, zeros, scales = _round(parts, low, high)
    else:
        importance, least = importance_I.reshape(-1, group), torch.full_like(low, torch.inf)
        codes, zeros, scales = torch.zeros_like(parts), torch.zeros_like(low), torch.ones_like(low)
        for shrink in SHRINKS:
            tried = _round(parts, low * shrink, high * shrink)
            error = (((tried[0] - tried[1][..., None]) * tried[2][..., None] - parts).square() * importance).sum(-1)
            better = error < least
            codes = torch.where(better[..., None], tried[0], codes)
            zeros, scales = torch.where(better, tried[1], zeros), torch.where(better, tried[2], scales)
            least = torch.where(better, error, least)
    return Codes(codes=codes.to(torch.uint8).reshape(weight_OI.shape), zeros=zeros.short(), scales=scales.half())


def _round(parts: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(codes, zeros, scales) in float32, the scales as float16 holds them."""
    scales = ((high - low) / TOP).half().float()
    scales[scales == 0] = 1
    zeros = (-low / scales).round_().clamp_(0, TOP)
    return (parts / scales[..., None] + zeros[..., None]).round_().clamp_(0, TOP), zeros, scales
