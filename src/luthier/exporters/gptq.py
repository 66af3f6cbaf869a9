"""A Hugging Face folder with its linear layers in 2, 3, 4 or 8 bits, rounded by GPTQ: vLLM, SGLang and transformers load it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from luthier.exporters.calibrated import Calibrated
from luthier.exporters.gptq_solve import solve
from luthier.exporters.quantized import Packed
from luthier.exporters.walk import Run, hessians, in_order
from luthier.packing.gptq import pack, unpack

if TYPE_CHECKING:
    from luthier.config import Config

DAMPING = 0.01

TOLERANCES = {8: 0.1, 4: 1.0, 3: 3.0, 2: float("inf")}
"""bits -> nats; what two bits leave of a small model can be anything."""


class Gptq(Calibrated):
    """export_quantization_bit, or export_format: gptq (4 bits)."""

    parts = ("qweight", "qzeros", "scales", "g_idx")
    file = "quantize_config.json"

    def __init__(self, config: Config):
        super().__init__(config)
        self.bits = config.export_quantization_bit or 4
        self.tolerance = TOLERANCES[self.bits]

    @torch.no_grad()
    def round_layer(self, layer: nn.Module, run: Run, states: Sequence[Tensor]) -> Iterator[tuple[nn.Linear, Packed]]:
        """Each of its linears sees what the rounded ones before it give."""
        for linears in in_order(layer, run, states[0]):
            [hessian] = hessians(linears[:1], run, states)
            for linear in linears:
                rounded = solve(linear.weight, hessian, bits=self.bits, group=self.group, damping=DAMPING)
                linear.weight.copy_(rounded.weight)
                yield linear, pack(rounded, self.bits)

    def unpack(self, tensors: Packed) -> Tensor:
        return unpack(tensors, len(tensors["g_idx"])).weight

    def settings(self, kept: list[str]) -> dict[str, Any]:
        return {
            "quant_method": "gptq", "bits": self.bits, "group_size": self.group, "sym": True, "desc_act": False,
            "true_sequential": True, "damp_percent": DAMPING, "lm_head": False, "checkpoint_format": "gptq",
            "pack_dtype": "int32", "meta": {"quantizer": ["luthier"]},
        }  # fmt: skip
