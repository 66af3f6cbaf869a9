"""torchao's rounding to 4 bits, in groups of a row with a zero point each: linear layers without data, on every device.

torchao's own layers of 4 bits only answer, and only on some GPUs; its numbers are kept in layers that can be trained through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luthier.models.packed import PackedLinear
from luthier.models.replace import replace_linears
from luthier.packing import METHOD
from luthier.packing.codes import Codes

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

BITS = 4
GROUP = 64
"""Weights that share a scale and a zero point; a whole row where 64 does not divide it."""


def quantise(model: PreTrainedModel, bits: int, *, device: Any, dtype: torch.dtype | None) -> PreTrainedModel:
    """model with its linear layers but the head in 4 bits, on device. dtype: of the computation."""
    replace_linears(model, lambda layer: _rounded(layer.to(device), dtype or layer.weight.dtype))
    model.is_quantized, model.quantization_method = True, METHOD
    return model.to(device)


def _rounded(layer: nn.Linear, dtype: torch.dtype) -> PackedLinear:
    import torch
    from torchao.quantization import MappingType, choose_qparams_affine, quantize_affine

    weight, group = layer.weight.detach(), GROUP if layer.in_features % GROUP == 0 else layer.in_features
    block, top = (1, group), 2**BITS - 1
    scales, zeros = choose_qparams_affine(
        weight, MappingType.ASYMMETRIC, block, torch.uint8, 0, top, scale_dtype=torch.float32, zero_point_dtype=torch.int16
    )
    codes = quantize_affine(weight, block, scales, zeros, torch.uint8, 0, top)
    return PackedLinear(Codes(codes=codes, zeros=zeros, scales=scales), BITS, layer.bias, dtype)
