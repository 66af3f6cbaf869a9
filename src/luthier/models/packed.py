"""A linear layer whose weight lies in a few bits and is made whole for each product, forward and backward.

What GPTQ, AWQ and torchao's int4 have in common (packing/codes.py), so that a frozen base in any of them carries an adapter, on
every device. An engine that only answers has faster kernels (vLLM, SGLang).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from luthier.packing.codes import Codes, expand, fold, unfold


class PackedLinear(nn.Linear):
    """y = x W^T + b, with W = (codes - zeros) * scales.

    codes: uint8 (O, I * bits / 8), 2, 4 or 8 bits a code (3 take 4).  zeros: int16 (O, G).  scales (O, G).  group_of: (I,) or
    None.  weight: a fresh copy of W in the dtype that the model computes in; it cannot be written to.
    """

    def __init__(self, codes: Codes, bits: int, bias: Tensor | None, dtype: torch.dtype):
        nn.Module.__init__(self)
        self.out_features, self.in_features = codes.codes.shape
        self.bits = 4 if bits == 3 else bits
        self.dtype = dtype
        self.codes = _frozen(fold(codes.codes, self.bits))
        self.zeros, self.scales = _frozen(codes.zeros), _frozen(codes.scales)
        self.group_of = None if codes.group_of is None else _frozen(codes.group_of)
        self.bias = None if bias is None else _frozen(bias.to(dtype))

    @property
    def weight(self) -> Tensor:
        return self.expanded(self.dtype)

    def expanded(self, dtype: torch.dtype) -> Tensor:
        """W (O, I), computed in float32 and rounded to dtype once."""
        return expand(unfold(self.codes, self.bits), self.zeros, self.scales, self.group_of).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I).  Returns (..., O) in the dtype of x, or that of autocast."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        y = _Product.apply(x.to(dtype), self)
        return y if self.bias is None else y + self.bias.to(dtype)

    def full(self) -> nn.Linear:
        """The same layer with its weight whole."""
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = _frozen(self.weight)
        layer.bias = self.bias
        return layer


class _Product(torch.autograd.Function):
    """x W^T with W frozen: the backward pass makes W again rather than keep it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.expanded(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.layer.expanded(gradient.dtype), None


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
