"""Rounded weights as AWQ checkpoints of version "gemm" store them, and back: qweight, qzeros, scales.

Eight codes of neighbouring outputs lie in an int32 word, from the lowest bits on in the order 0 2 4 6 1 3 5 7.
    qweight  int32 (I, O / 8)      qzeros  int32 (G, O / 8)      scales  float16 (G, O)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from luthier.exporters.awq_round import Grouped
from luthier.exporters.gptq_pack import from_words, to_words

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
BACK = (0, 4, 1, 5, 2, 6, 3, 7)


def pack(rounded: Grouped) -> dict[str, Tensor]:
    """The three tensors, by their last names. O is a multiple of 32."""
    return {
        "qweight": to_words(_permuted(rounded.codes, ORDER), 4).T.contiguous(),
        "qzeros": to_words(_permuted(rounded.zeros, ORDER), 4).T.contiguous(),
        "scales": rounded.scales.T.contiguous(),
    }


def unpack(tensors: Mapping[str, Tensor]) -> Tensor:
    """The weight (O, I), float32."""
    codes, zeros = (_permuted(from_words(tensors[name].T, 4), BACK).to(torch.uint8) for name in ("qweight", "qzeros"))
    return Grouped(codes=codes, zeros=zeros, scales=tensors["scales"].T).weight


def _permuted(rows_OM: Tensor, order: tuple[int, ...]) -> Tensor:
    """Each eight rows in another order."""
    return rows_OM.reshape(-1, 8, rows_OM.shape[1])[:, order].reshape(rows_OM.shape)
