"""Rounded weights as GPTQ checkpoints store them, and back: qweight, qzeros, scales, g_idx.

Codes lie end to end in int32 words, the first in the lowest bits; with 3 bits some of them cross into the next word.
    qweight  int32 (I * bits / 32, O)       codes of each output, down the inputs
    qzeros   int32 (G, O * bits / 32)       the middle of the scale, less 1 (checkpoint_format "gptq")
    scales   float16 (G, O)                 g_idx  int32 (I,)  the group of each input
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from luthier.exporters.gptq_solve import Rounded

WORD = 32


def pack(rounded: Rounded) -> dict[str, Tensor]:
    """The four tensors, by their last names. O and I are multiples of 32."""
    outputs, inputs = rounded.codes.shape
    groups = rounded.scales.shape[1]
    zeros = torch.full((outputs, groups), 2 ** (rounded.bits - 1) - 1, dtype=torch.uint8)
    return {
        "qweight": to_words(rounded.codes.T, rounded.bits),
        "qzeros": to_words(zeros, rounded.bits).T.contiguous(),
        "scales": rounded.scales.T.contiguous(),
        "g_idx": torch.arange(inputs, dtype=torch.int32) // (inputs // groups),
    }


def unpack(tensors: Mapping[str, Tensor], bits: int) -> Tensor:
    """The weight (O, I), float32."""
    codes = from_words(tensors["qweight"], bits)
    zeros = from_words(tensors["qzeros"].T, bits).T + 1
    groups = tensors["g_idx"].long()
    return ((codes - zeros[groups]).float() * tensors["scales"].float()[groups]).T.contiguous()


def to_words(codes_NM: Tensor, bits: int) -> Tensor:
    """(N, M) codes below 2^bits -> int32 (N * bits / 32, M). N is a multiple of 32."""
    codes = codes_NM.long().reshape(-1, WORD, codes_NM.shape[1])
    words = codes.new_zeros(len(codes), bits, codes.shape[2])
    for number in range(WORD):
        word, shift = divmod(number * bits, WORD)
        words[:, word] |= codes[:, number] << shift
        if shift + bits > WORD:
            words[:, word + 1] |= codes[:, number] >> (WORD - shift)
    words &= 2**WORD - 1
    return torch.where(words >= 2 ** (WORD - 1), words - 2**WORD, words).to(torch.int32).reshape(-1, codes.shape[2])


def from_words(words_KM: Tensor, bits: int) -> Tensor:
    """int64 (N, M) of int32 (N * bits / 32, M)."""
    words = (words_KM.long() & (2**WORD - 1)).reshape(-1, bits, words_KM.shape[1])
    codes = words.new_zeros(len(words), WORD, words.shape[2])
    for number in range(WORD):
        word, shift = divmod(number * bits, WORD)
        codes[:, number] = words[:, word] >> shift
        if shift + bits > WORD:
            codes[:, number] |= words[:, word + 1] << (WORD - shift)
    return (codes & (2**bits - 1)).reshape(-1, words.shape[2])
