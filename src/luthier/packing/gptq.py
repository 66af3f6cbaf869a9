"""Linear layers as GPTQ checkpoints store them: qweight, qzeros, scales, g_idx.

Codes lie in words (packing/words.py) down the inputs; with bits of 2, 3, 4 or 8.
    qweight  int32 (I * bits / 32, O)       codes of each output
    qzeros   int32 (G, O * bits / 32)       zero points, less 1 in checkpoint_format "gptq" (v1), as they are in "gptq_v2"
    scales   float16 (G, O)                 g_idx  int32 (I,)  the group of each input
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from luthier.packing.codes import Codes
from luthier.packing.words import WORD, from_words, to_words


def pack(layer: Codes, bits: int) -> dict[str, Tensor]:
    """The four tensors, by their last names. O and I are multiples of 32."""
    (_, inputs), groups = layer.codes.shape, layer.scales.shape[1]
    return {
        "qweight": to_words(layer.codes.T, bits),
        "qzeros": to_words(layer.zeros - 1, bits).T.contiguous(),
        "scales": layer.scales.T.contiguous(),
        "g_idx": torch.arange(inputs, dtype=torch.int32) // (inputs // groups),
    }


def unpack(tensors: Mapping[str, Tensor], inputs: int, *, first_zero: int = 1) -> Codes:
    """The layer of I inputs; its bits are seen from the shapes. g_idx may be missing: then neighbours share a group.

    first_zero: the zero point that a stored 0 means: 1, in "gptq_v2" 0.
    """
    bits = tensors["qweight"].shape[0] * WORD // inputs
    scales, order = tensors["scales"].T.contiguous(), tensors.get("g_idx")
    if order is not None and torch.equal(order.cpu(), torch.arange(inputs) // (inputs // scales.shape[1])):
        order = None
    return Codes(
        codes=from_words(tensors["qweight"], bits).T.contiguous(),
        zeros=_zeros(tensors["qzeros"].T.contiguous(), bits, first_zero)[: len(scales)],
        scales=scales,
        group_of=order,
    )


def _zeros(words_KG: Tensor, bits: int, first: int) -> Tensor:
    """int16 (O, G). The 1 was taken off whole words: where a zero point is 0, its neighbour lent to it and gets that back."""
    if WORD % bits == 0:
        return from_words(words_KG + first * sum(1 << shift for shift in range(0, WORD, bits)), bits).short()
    return (from_words(words_KG, bits) + first & 2**bits - 1).short()
