"""Half-quadratic quantisation (Badri and Shaji 2023, mobiusml.github.io/hqq_blog): linear layers in 1 to 8 bits, without data.

transformers' own loader refuses a CPU, so the full model is loaded first and its layers are replaced one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luthier.models.replace import replace_linears

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

GROUP = 64
"""Weights that share a scale and a zero point, as its authors advise; a whole row where 64 does not divide it."""


def quantise(model: PreTrainedModel, bits: int, *, device: Any, dtype: torch.dtype | None) -> PreTrainedModel:
    """model with its linear layers but the head in so many bits, on device. dtype: of the computation."""
    import torch
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
    from transformers.utils.quantization_config import QuantizationMethod

    def rounded(layer: nn.Linear) -> nn.Module:
        settings = BaseQuantizeConfig(nbits=bits, group_size=GROUP if layer.in_features % GROUP == 0 else None, axis=1)
        compute = dtype or layer.weight.dtype
        return HQQLinear(layer.to(device), settings, compute_dtype=compute, device=str(torch.device(device)), del_orig=True)

    replace_linears(model, rounded)
    model.is_quantized, model.quantization_method = True, QuantizationMethod.HQQ  # what peft and transformers ask
    return model.to(device)
