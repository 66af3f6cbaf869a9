"""Linear layers as AWQ checkpoints of version "gemm" store them: qweight, qzeros, scales, of 4 bits.

Eight codes of neighbouring outputs lie in an int32 word, from the lowest bits on in the order 0 2 4 6 1 3 5 7.
    qweight  int32 (I, O / 8)      qzeros  int32 (G, O / 8)      scales  float16 (G, O)
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from luthier.packing.codes import Codes
from luthier.packing.words import from_words, to_words

BITS = 4
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
BACK = (0, 4, 1, 5, 2, 6, 3, 7)


def pack(layer: Codes) -> dict[str, Tensor]:
    """The three tensors, by their last names. O is a multiple of 32."""
    return {
        "qweight": to_words(_permuted(layer.codes, ORDER), BITS).T.contiguous(),
        "qzeros": to_words(_permuted(layer.zeros, ORDER), BITS).T.contiguous(),
        "scales": layer.scales.T.contiguous(),
    }


def unpack(tensors: Mapping[str, Tensor]) -> Codes:
    codes, zeros = (_permuted(from_words(tensors[name].T.contiguous(), BITS), BACK) for name in ("qweight", "qzeros"))
    return Codes(codes=codes, zeros=zeros.short(), scales=tensors["scales"].T.contiguous())


def _permuted(rows_OM: Tensor, order: tuple[int, ...]) -> Tensor:
    """Each eight rows in another order."""
    return rows_OM.reshape(-1, 8, rows_OM.shape[1])[:, order].reshape(rows_OM.shape)
