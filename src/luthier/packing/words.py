"""Numbers of 1 to 8 bits end to end in int32 words, the first in the lowest bits; some (of 3 bits, say) cross into the next."""

from __future__ import annotations

import torch
from torch import Tensor

WORD = 32


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
    """uint8 (N, M) of int32 (N * bits / 32, M)."""
    words = words_KM.reshape(-1, bits, words_KM.shape[1])
    codes = torch.empty(len(words), WORD, words.shape[2], dtype=torch.uint8, device=words.device)
    top = 2**bits - 1
    for number in range(WORD):
        word, shift = divmod(number * bits, WORD)
        low = words[:, word] >> shift  # copies of the sign come in above the WORD - shift bits that are ours
        if shift + bits > WORD:
            low = low & (2 ** (WORD - shift) - 1) | words[:, word + 1] << (WORD - shift)
        codes[:, number] = low & top
    return codes.reshape(-1, words.shape[2])
