"""A Hugging Face folder with its linear layers in 8 bits, floating point or whole: vLLM and SGLang compute with it as it is.

Layout: compressed-tensors (float-quantized, int-quantized). A weight is code * scale of its output; whoever serves the files
rounds what enters a layer to the same 8 bits, token by token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from luthier.exporters.quantized import Packed, Quantized
from luthier.exporters.walk import find_linears

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class EightBits(Quantized):
    """kind: of the numbers, in compressed-tensors' words.  largest: of the codes."""

    bits = 8
    parts = ("weight", "weight_scale")
    tolerance = 0.1
    multiple = 16
    kind: str
    largest: float

    def codes(self, scaled: Tensor) -> Tensor:
        """Numbers between -largest and largest as they are stored."""
        raise NotImplementedError

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        """What is not quantised keeps its 16 bits; float32, which no kernel takes, becomes bfloat16."""
        return super().dtype(stored if stored.itemsize == 2 else torch.bfloat16)

    def round_rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(codes, scales (..., 1) in float32) of (..., I): the largest number of a row becomes the largest code."""
        scales = rows.float().abs().amax(-1, keepdim=True) / self.largest
        scales[scales == 0] = 1
        return self.codes((rows.float() / scales).clamp(-self.largest, self.largest)), scales

    def round_model(self, model: PreTrainedModel) -> dict[str, Packed]:
        packed: dict[str, Packed] = {}
        for name, linear in find_linears(model, self.multiple).items():
            codes, scales = self.round_rows(linear.weight.detach())
            packed[name] = {"weight": codes.cpu(), "weight_scale": scales.cpu()}
        return packed

    def unpack(self, tensors: Packed) -> Tensor:
        return tensors["weight"].float() * tensors["weight_scale"]

    def as_served(self, model: PreTrainedModel) -> None:
        def rounded(module: nn.Linear, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            codes, scales = self.round_rows(args[0])
            return (codes.float() * scales).to(args[0].dtype), *args[1:]

        for linear in find_linears(model, self.multiple).values():
            linear.register_forward_pre_hook(rounded)

    def settings(self, kept: list[str]) -> dict[str, Any]:
        number = {"num_bits": 8, "type": self.kind, "symmetric": True, "group_size": None, "block_structure": None}
        group = {
            "targets": ["Linear"],
            "weights": number | {"strategy": "channel", "dynamic": False},
            "input_activations": number | {"strategy": "token", "dynamic": True},
            "output_activations": None,
        }
        return {
            "quant_method": "compressed-tensors", "format": f"{self.kind}-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": group}, "ignore": kept, "kv_cache_scheme": None,
        }  # fmt: skip


class Fp8(EightBits):
    """export_format: fp8 (float8_e4m3)."""

    kind = "float"
    largest = 448.0

    def codes(self, scaled: Tensor) -> Tensor:
        return scaled.to(torch.float8_e4m3fn)


class Int8(EightBits):
    """export_format: int8 (W8A8)."""

    kind = "int"
    largest = 127.0

    def codes(self, scaled: Tensor) -> Tensor:
        return scaled.round().to(torch.int8)
