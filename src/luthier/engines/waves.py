"""The cache for models whose state is more than keys and values (state-space and linear attention, shared layers).

Their states cannot be aligned with those of a row that comes later, so rows only join an empty batch: waves. A row that is
finished leaves at once, as in the slots. Otherwise the same interface as slots.SlotCache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig


class WaveCache(DynamicCache):
    """transformers' own cache for this model, left-padded. joins: whether rows may be added beside others.

    bytes_per_token: memory of one token of one row.
    """

    joins = False

    def __init__(self, config: PretrainedConfig, device: torch.device, bytes_per_token: int):
        self.bytes_per_token = bytes_per_token
        self._model_config, self._device = config, device
        self._begins: list[int] = []
        self._stop = 0
        super().__init__(config=config)

    @property
    def num_rows(self) -> int:
        return len(self._begins)

    @property
    def width(self) -> int:
        return self._stop

    def begin_prefill(self, lengths: Sequence[int]) -> Tensor | None:
        self.clear()
        return self._mask([max(lengths) - length for length in lengths], max(lengths))

    def end_prefill(self, lengths: Sequence[int]) -> None:
        self._stop = max(lengths)
        self._begins = [self._stop - length for length in lengths]

    def begin_step(self) -> Tensor | None:
        return self._mask(self._begins, self._stop + 1)

    def end_step(self) -> None:
        self._stop += 1

    def remove(self, row: int) -> None:
        """Free a row. The last row takes its number."""
        last = self.num_rows - 1
        self._begins[row] = self._begins[last]
        self._begins.pop()
        if not self._begins:
            return self.clear()
        order = list(range(last))
        if row != last:
            order[row] = last
        self.reorder_cache(torch.tensor(order, device=self._device))

    def clear(self) -> None:
        self._begins, self._stop = [], 0
        self.layers = DynamicCache(config=self._model_config).layers

    def _mask(self, begins: Sequence[int], columns: int) -> Tensor | None:
        if max(begins) == 0:
            return None
        return torch.arange(columns, device=self._device) >= torch.tensor(begins, device=self._device)[:, None]
