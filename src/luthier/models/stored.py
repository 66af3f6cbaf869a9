"""Models whose files hold linear layers quantised by GPTQ or AWQ -> PackedLinear layers, or full ones, as they are loaded.

Through transformers' registry of quantisers: it builds the model and reads the files; this names what the files hold for a
layer, and what becomes of it. No library of either method is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from luthier.errors import ModelError
from luthier.models.packed import PackedLinear
from luthier.packing import METHOD, awq, gptq
from luthier.packing.codes import Codes
from luthier.packing.words import WORD

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MARK = ".qweight"
PARTS = ("qweight", "qzeros", "scales", "g_idx", "bias")
READ = {"gptq": ("checkpoint_format", ("gptq", "gptq_v2")), "awq": ("version", ("gemm",))}
"""quant_method -> (the setting that names its layout, the layouts that are read; the first is meant where none is named)."""


def settings_of(stored: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """What config.json is to say in place of `stored`, its own quantization_config, for this module to be asked.

    whole: to make the weights full rather than keep the codes.  ModelError for a layout that is not read.
    """
    method = stored["quant_method"]
    key, layouts = READ[method]
    layout = str(stored.get(key) or layouts[0]).lower()
    if layout not in layouts:
        raise ModelError(
            f'the model is stored as {method} with {key} "{layout}"; {" and ".join(layouts)} can be read.',
            "Name the model with full weights (and quantization_bit: 4 to train on a small base).",
        )
    return {"quant_method": METHOD, "method": method, "layout": layout, "dequantize": whole}


@register_quantization_config(METHOD)
class StoredConfig(QuantizationConfigMixin):
    def __init__(self, *, method: str, layout: str, dequantize: bool, quant_method: str = METHOD):
        self.quant_method, self.method, self.layout, self.dequantize = quant_method, method, layout, dequantize


class _Stored(nn.Module):
    """What the files hold for one layer of so many inputs, by its names there."""

    def __init__(self, inputs: int, tensors: Mapping[str, Tensor]):
        super().__init__()
        self.inputs = inputs
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))


@register_quantizer(METHOD)
class StoredQuantizer(HfQuantizer):
    requires_calibration = True

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: Sequence[str] = (), **_: Any
    ) -> None:
        for name, tensors in _layers(checkpoint_files).items():
            try:
                linear = model.get_submodule(name)
            except AttributeError:
                raise ModelError(
                    f"{name} is quantised in the files, and this architecture has no such layer in transformers (it holds the "
                    "experts of a layer as one).",
                    "Name the model with full weights (and quantization_bit: 4 to train on a small base).",
                ) from None
            model.set_submodule(name, _Stored(linear.in_features, tensors))

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **_: Any) -> None:
        for name in [name for name, module in model.named_modules() if isinstance(module, _Stored)]:
            layer = self._layer(model.get_submodule(name), model.dtype)
            full = self.quantization_config.dequantize or name == "lm_head"  # scores multiply by the head's own weight
            model.set_submodule(name, layer.full() if full else layer)

    def _layer(self, stored: _Stored, dtype: torch.dtype) -> PackedLinear:
        tensors = {name: tensor.data for name, tensor in stored.named_parameters()}
        bits = tensors["qweight"].numel() * WORD // (stored.inputs * tensors["scales"].shape[1])
        return PackedLinear(self._codes(tensors, stored.inputs), bits, tensors.get("bias"), dtype)

    def _codes(self, tensors: Mapping[str, Tensor], inputs: int) -> Codes:
        if self.quantization_config.method == "awq":
            return awq.unpack(tensors)
        return gptq.unpack(tensors, inputs, first_zero=0 if self.quantization_config.layout == "gptq_v2" else 1)

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return True


def _layers(files: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Name of each quantised layer -> what the files hold for it, by last name: shapes on the meta device."""
    shapes: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if name.rpartition(".")[2] in PARTS:
                    shapes[name] = _shape(tensors.get_slice(name))
    layers = [name.removesuffix(MARK) for name in shapes if name.endswith(MARK)]
    return {layer: {part: shapes[full] for part in PARTS if (full := f"{layer}.{part}") in shapes} for layer in layers}


def _shape(stored: Any) -> Tensor:
    kinds = {"I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    return torch.empty(stored.get_shape(), dtype=kinds[stored.get_dtype()], device="meta")
