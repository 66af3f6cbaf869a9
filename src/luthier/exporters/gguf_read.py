"""A GGUF file read: its metadata and its tensors, which stay on the disk until they are asked for.

Enters: a path. Leaves: fields by key, tensors with their bytes. Source: ggml's docs/gguf.md, version 3, little endian.
(The package's own reader makes an array of every string: half a minute for a vocabulary that this reads in half a second.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.errors import ExportError

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's number of a type -> struct's letter."""

STRING, ARRAY = 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One tensor. shape: of the weight, rows first. data: its bytes as they lie in the file."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    data: np.ndarray

    def values(self) -> np.ndarray:
        """float32, in the shape of the weight."""
        from gguf import quants

        row_bytes = quants.quant_shape_to_byte_shape(self.shape, self.kind)
        rows = self.data.reshape(row_bytes) if self.kind.name not in ("F32", "F16") else self.data
        return quants.dequantize(rows, self.kind).astype(np.float32, copy=False).reshape(self.shape)


class GgufContents:
    """fields: key -> value.  tensors: in the order of the file."""

    def __init__(self, file: Path):
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        self._bytes = np.memmap(file, mode="r")
        self._at = 0
        if bytes(self._bytes[:4]) != MAGIC or len(self._bytes) < 24:
            raise ExportError(f"{file} is not a GGUF file.")
        self._at = 8
        count, fields = self._take("Q"), self._take("Q")
        self.fields = {self._string(): self._value(self._take("I")) for _ in range(fields)}
        infos = [(self._string(), self._dims(), self._take("I"), self._take("Q")) for _ in range(count)]
        alignment = self.fields.get("general.alignment", 32)
        start = -(-self._at // alignment) * alignment
        self.tensors = []
        for name, dims, number, offset in infos:
            kind = GGMLQuantizationType(number)
            block, size = GGML_QUANT_SIZES[kind]
            length = int(np.prod(dims)) // block * size
            data = self._bytes[start + offset : start + offset + length]
            if len(data) != length:
                raise ExportError(f"{file} ends in the middle of {name}.")
            self.tensors.append(Stored(name=name, kind=kind, shape=tuple(reversed(dims)), data=data))

    def _take(self, letter: str) -> Any:
        (value,) = struct.unpack_from(f"<{letter}", self._bytes, self._at)
        self._at += struct.calcsize(f"<{letter}")
        return value

    def _string(self) -> str:
        length = self._take("Q")
        self._at += length
        return self._bytes[self._at - length : self._at].tobytes().decode()

    def _dims(self) -> tuple[int, ...]:
        return tuple(self._take("Q") for _ in range(self._take("I")))

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._take(SCALARS[kind])
        item, count = self._take("I"), self._take("Q")
        if item in (STRING, ARRAY):
            return [self._value(item) for _ in range(count)]
        values = np.frombuffer(self._bytes, np.dtype(SCALARS[item]).newbyteorder("<"), count, self._at)
        self._at += values.nbytes
        return values.tolist()
