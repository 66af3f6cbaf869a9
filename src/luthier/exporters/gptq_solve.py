"""GPTQ: weights rounded column by column, each rounding error made good by the columns that are still to come.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv:2210.17323,
algorithm 1. With the identity as Hessian it is rounding to the nearest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from luthier.packing.codes import Codes

SHRINKS = tuple(1 - 0.025 * step for step in range(17))
"""Parts of the largest weight that are tried as the end of the scale: cutting a few weights can serve the others."""


def solve(weight_OI: Tensor, hessian_II: Tensor, *, bits: int, group: int, damping: float = 0.01) -> Codes:
    """hessian_II: sum of x x^T over the layer's inputs, up to a factor.  group: columns that share a scale; divides I.

    damping: part of the Hessian's mean diagonal that is added to it. Computed in float32; nothing given is changed.
    """
    weight, inverse = weight_OI.float().clone(), _inverse(hessian_II, damping)
    weight[:, hessian_II.diagonal() == 0] = 0  # inputs that are never there
    middle, top = 2 ** (bits - 1), 2**bits - 1
    codes = torch.zeros_like(weight, dtype=torch.uint8)
    scales = []
    for begin in range(0, weight.shape[1], group):
        end = begin + group
        part = weight[:, begin:end]
        scale = _scale(part, bits)
        errors = torch.empty_like(part)
        for column in range(group):
            place = begin + column
            code = (part[:, column] / scale + middle).round_().clamp_(0, top)
            codes[:, place] = code.to(torch.uint8)
            error = (part[:, column] - (code - middle) * scale) / inverse[place, place]
            part[:, column:] -= error[:, None] * inverse[None, place, place:end]
            errors[:, column] = error
        weight[:, end:] -= errors @ inverse[begin:end, end:]
        scales.append(scale)
    zeros = torch.full((len(codes), len(scales)), middle, dtype=torch.int16)
    return Codes(codes=codes, zeros=zeros.to(codes.device), scales=torch.stack(scales, 1).half())


def _inverse(hessian: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the damped Hessian's inverse: row i is what the error of column i does to those after it."""
    hessian = hessian.float().clone()
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += damping * diagonal.mean()
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)


def _scale(part: Tensor, bits: int) -> Tensor:
    """(O,) steps of the scale, as float16 holds them: of SHRINKS the one with the least squared error of each row."""
    middle, top = 2 ** (bits - 1), 2**bits - 1
    largest = part.abs().amax(1)
    best, least = torch.ones_like(largest), torch.full_like(largest, torch.inf)
    for shrink in SHRINKS:
        scale = (2 * largest * shrink / top).half().float()
        scale[scale == 0] = 1
        rounded = (part / scale[:, None] + middle).round_().clamp_(0, top)
        error = ((rounded - middle) * scale[:, None] - part).square().sum(1)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best
