"""Quantised folders whose rounding looks at data: rows in, and what the model loses on rows that it did not look at, told.

Enters: the merged model and rows of token ids of one length. Leaves: packed linear layers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from luthier.errors import ExportError
from luthier.exporters.quantized import Packed, Quantized
from luthier.exporters.walk import Run, find_linears, group_size, walk
from luthier.runtime.progress import progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from luthier.config import Config

log = logging.getLogger(__name__)


class Calibrated(Quantized):
    """group: columns that share a scale, known when round_layer is called."""

    needs_rows = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.rows: Sequence[Sequence[int]] = ()
        self.group = 0

    def calibrate(self, rows: Sequence[Sequence[int]]) -> None:
        """Token ids, all of one length; the last tenth of them is held out to measure with."""
        self.rows = rows

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        """float16 for all that is not quantised, which every kernel takes, unless infer_dtype says otherwise."""
        return super().dtype(torch.float16)

    def round_layer(self, layer: nn.Module, run: Run, states: Sequence[Tensor]) -> Iterator[tuple[nn.Linear, Packed]]:
        """Round one decoder layer in its place; its linears, packed."""
        raise NotImplementedError

    def round_model(self, model: PreTrainedModel) -> dict[str, Packed]:
        held = max(1, len(self.rows) // 10)
        rows, measured = self.rows[:-held], self.rows[-held:]
        if not rows:
            raise ExportError("one row is too little to calibrate with.", "Give export_quantization_dataset more text.")
        linears = find_linears(model)
        names = {id(linear): name for name, linear in linears.items()}
        self.group = group_size(linears)
        before = loss(model, measured)
        packed: dict[str, Packed] = {}
        with progress_bars(self.config.disable_tqdm or False) as bars:
            bar = bars.add("quantise", model.config.get_text_config().num_hidden_layers)
            for number, (layer, run, states) in enumerate(walk(model, rows)):
                for linear, tensors in self.round_layer(layer, run, states):
                    packed[names[id(linear)]] = {last: tensor.cpu() for last, tensor in tensors.items()}
                bar.update(number + 1)
            bar.close()
        log.info(
            "%s with %d bits, groups of %d, %d rows of %d tokens: loss on held-out rows %.4f, %.4f before",
            type(self).__name__.upper(), self.bits, self.group, len(rows), len(rows[0]), loss(model, measured), before,
        )  # fmt: skip
        return packed


def loss(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> float:
    """Mean negative log-likelihood of a token, in nats."""
    device = model.get_input_embeddings().weight.device
    tensors = (torch.tensor([list(row)], device=device) for row in rows)
    with torch.no_grad():
        losses = [model(input_ids=ids, labels=ids, use_cache=False).loss for ids in tensors]
    return float(torch.stack(losses).float().mean())
