"""The key-value cache of a batch whose rows come and go: right-aligned slots in buffers that are made once.

    column      0   1   2   3   4   5   6   7          The next token of every row goes to column `stop`.
    row 0       .   a   b   c   d   e                  `begins` says where each row's first token lies: 1, 3, 2.
    row 1       .   .   .   x   y   z                  A step reads columns [min(begins), stop + 1) and writes one.
    row 2       .   .   p   q   r   s
                                    ^ stop = 6

A new row is pre-filled straight into its slot, its last prompt token in column stop - 1, beside rows that are under way; a row
that leaves is overwritten by the last one. So neither copies what the others hold, and because all rows end in one column the
model's own masks (causal, sliding window, chunked) are right as they are.

Never: changes what another row sees, keeps memory when no row is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

STRIDE = 64
"""Columns are added in multiples of this."""


class Slots:
    """The shape of the buffers and which part of them the coming forward pass writes and reads."""

    def __init__(self) -> None:
        self.begins: list[int] = []  # first column of each row
        self.stop = 0  # the column after the last token of every row
        self.rows = slice(0, 0)
        self.read_from = self.write_from = self.write_to = 0

    @property
    def start(self) -> int:
        return min(self.begins, default=self.stop)


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, (rows, heads, columns, dim); all layers share one Slots."""

    is_sliding = False

    def __init__(self, slots: Slots, key: Tensor, value: Tensor):
        """key, value: tensors of this layer for one token, (1, heads, 1, dim): they give the shapes, dtype and device."""
        super().__init__()
        self._slots = slots
        self.lazy_initialization(key, value)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = key_states[:0, :, :0], value_states[:0, :, :0]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        slots = self._slots
        self.keys[slots.rows, :, slots.write_from : slots.write_to] = key_states
        self.values[slots.rows, :, slots.write_from : slots.write_to] = value_states
        if slots.read_from == slots.write_from:
            return key_states, value_states
        columns = slice(slots.read_from, slots.write_to)
        return self.keys[slots.rows, :, columns], self.values[slots.rows, :, columns]

    def get_seq_length(self) -> int:
        return self._slots.write_from - self._slots.read_from

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def resize(self, rows: int, columns: int, live_rows: int, live: slice, target: int) -> None:
        """Move to buffers of another size; columns live of the first live_rows rows begin at column target there."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            # zeros, not empty: a masked column may hold any number, but never NaN
            new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
            new[:live_rows, :, target : target + live.stop - live.start] = old[:live_rows, :, live]
            setattr(self, name, new)

    def shift(self, live_rows: int, live: slice, target: int) -> None:
        for tensor in (self.keys, self.values):
            tensor[:live_rows, :, target : target + live.stop - live.start] = tensor[:live_rows, :, live].clone()

    def copy_row(self, source: int, target: int, live: slice) -> None:
        for tensor in (self.keys, self.values):
            tensor[target, :, live] = tensor[source, :, live]


class SlotCache(Cache):
    """What a transformers model gets as past_key_values. layers: (key, value) of one token for each layer, see SlotLayer.

    joins: whether rows may be added beside others.  bytes_per_token: memory of one token of one row.
    """

    joins = True

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]):
        self.slots = Slots()
        self.bytes_per_token = sum(state.numel() * state.element_size() for pair in layers for state in pair)
        super().__init__(layers=[SlotLayer(self.slots, key, value) for key, value in layers])

    @property
    def num_rows(self) -> int:
        return len(self.slots.begins)

    @property
    def width(self) -> int:
        """Columns that the next step reads, the new one not counted."""
        return self.slots.stop - self.slots.start

    def begin_prefill(self, lengths: Sequence[int]) -> Tensor | None:
        """Make room for new rows and return their attention mask (rows, longest), or None where no row is padded."""
        slots, longest = self.slots, max(lengths)
        self.make_room(self.num_rows + len(lengths), max(self.width, longest) + 1)
        if slots.stop < longest:
            self._move_to(longest - self.width)
        slots.rows = slice(self.num_rows, self.num_rows + len(lengths))
        slots.read_from = slots.write_from = slots.stop - longest
        slots.write_to = slots.stop
        return self._mask([slots.stop - length for length in lengths])

    def end_prefill(self, lengths: Sequence[int]) -> None:
        """The new rows are in: from now on they are part of every step."""
        self.slots.begins += [self.slots.stop - length for length in lengths]

    def fork(self, sources: Sequence[int]) -> None:
        """One new row for each of these, with the same tokens. There has to be room."""
        slots = self.slots
        for source in sources:
            for layer in self.layers:
                layer.copy_row(source, self.num_rows, slice(slots.begins[source], slots.stop))
            slots.begins.append(slots.begins[source])

    def begin_step(self) -> Tensor | None:
        """Make room for one token a row and return the attention mask (rows, width + 1), or None where no row is padded."""
        self.make_room(self.num_rows, self.width + 1)
        slots = self.slots
        slots.rows = slice(0, self.num_rows)
        slots.read_from, slots.write_from, slots.write_to = slots.start, slots.stop, slots.stop + 1
        return self._mask(slots.begins)

    def end_step(self) -> None:
        self.slots.stop += 1

    def remove(self, row: int) -> None:
        """Free a slot. The last row takes its number."""
        last, slots = self.num_rows - 1, self.slots
        if row != last:
            for layer in self.layers:
                layer.copy_row(last, row, slice(slots.begins[last], slots.stop))
            slots.begins[row] = slots.begins[last]
        slots.begins.pop()
        if not slots.begins:
            return self.clear()
        rows, columns = self.layers[0].keys.shape[0], self.layers[0].keys.shape[2]
        if rows * columns > 4 * self.num_rows * (self.width + STRIDE):  # one long row is gone: do not hold its columns for ever
            self._rebuild(self.num_rows, self.width + STRIDE)

    def clear(self) -> None:
        """Forget all rows and give the memory back."""
        self.slots.begins.clear()
        self.slots.stop = 0
        for layer in self.layers:
            layer.lazy_initialization(layer.keys, layer.values)

    def _mask(self, begins: Sequence[int]) -> Tensor | None:
        slots = self.slots
        if max(begins) == slots.read_from:
            return None
        device = self.layers[0].keys.device
        columns = torch.arange(slots.read_from, slots.write_to, device=device)
        return columns >= torch.tensor(begins, device=device)[:, None]

    def make_room(self, rows: int, columns: int) -> None:
        """Buffers for rows rows and columns columns from `start` on; what is live may move to other columns."""
        have_rows, have_columns = self.layers[0].keys.shape[0], self.layers[0].keys.shape[2]
        if rows <= have_rows and max(columns, self.slots.stop + columns - self.width) <= have_columns:
            return
        if rows <= have_rows and columns + STRIDE <= have_columns:
            self._move_to(0)  # the rows that lay further left are gone: use their columns again
            return
        more_columns = _rounded(columns * 5 // 4) if columns > have_columns - STRIDE else have_columns
        self._rebuild(have_rows if rows <= have_rows else max(rows, have_rows * 3 // 2), more_columns)

    def _rebuild(self, rows: int, columns: int) -> None:
        start, stop = self.slots.start, self.slots.stop
        for layer in self.layers:
            layer.resize(rows, _rounded(columns), self.num_rows, slice(start, stop), 0)
        self._renumber(-start)

    def _move_to(self, target: int) -> None:
        start = self.slots.start
        for layer in self.layers:
            layer.shift(self.num_rows, slice(start, self.slots.stop), target)
        self._renumber(target - start)

    def _renumber(self, by: int) -> None:
        self.slots.begins = [begin + by for begin in self.slots.begins]
        self.slots.stop += by


def _rounded(columns: int) -> int:
    return -(-columns // STRIDE) * STRIDE
