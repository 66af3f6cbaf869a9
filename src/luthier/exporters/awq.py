"""A Hugging Face folder with its linear layers in 4 bits, rounded by AWQ: vLLM and SGLang load it.

Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", arXiv:2306.00978.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from luthier.exporters.awq_round import round_groups
from luthier.exporters.awq_scale import scale_inputs
from luthier.exporters.calibrated import Calibrated
from luthier.exporters.quantized import Packed
from luthier.exporters.walk import Run
from luthier.packing.awq import pack, unpack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from luthier.config import Config

log = logging.getLogger(__name__)


class Awq(Calibrated):
    """export_format: awq."""

    bits = 4
    parts = ("qweight", "qzeros", "scales")
    tolerance = 1.0

    def __init__(self, config: Config):
        super().__init__(config)
        self.scaled = self.unscaled = 0

    def round_model(self, model: PreTrainedModel) -> dict[str, Packed]:
        packed = super().round_model(model)
        if self.unscaled:
            log.info(
                "AWQ: %d of %d inputs of linear layers are rounded without a scale, as no layer before them can carry it "
                "(usual for what follows attention with shared heads)",
                self.unscaled,
                self.scaled + self.unscaled,
            )
        return packed

    @torch.no_grad()
    def round_layer(self, layer: nn.Module, run: Run, states: Sequence[Tensor]) -> Iterator[tuple[nn.Linear, Packed]]:
        """First all scales, for what is before a layer may be one to be rounded; then all roundings."""
        for linears, importance, is_scaled in scale_inputs(layer, run, states, self.group):
            self.scaled += is_scaled
            self.unscaled += not is_scaled
            for linear in linears:
                rounded = round_groups(linear.weight, self.group, importance)
                linear.weight.copy_(rounded.weight)
                yield linear, pack(rounded)

    def unpack(self, tensors: Packed) -> Tensor:
        return unpack(tensors).weight

    def settings(self, kept: list[str]) -> dict[str, Any]:
        return {
            "quant_method": "awq", "version": "gemm", "bits": 4, "group_size": self.group, "zero_point": True,
            "modules_to_not_convert": kept or None,
        }  # fmt: skip
