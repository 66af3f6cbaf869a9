"""Codes in words of 32 bits, and in bytes."""

import pytest
import torch

from luthier.packing.codes import fold, unfold
from luthier.packing.words import from_words, to_words

BITS = (2, 3, 4, 8)


@pytest.mark.parametrize("bits", BITS)
def test_words_hold_codes_end_to_end(bits):
    """As one number: code i stands at bit i * bits, whatever the word."""
    codes = torch.randint(2**bits, (64, 3), generator=torch.Generator().manual_seed(1))
    words = to_words(codes, bits)
    assert words.dtype == torch.int32 and words.shape == (64 * bits // 32, 3)
    for column in range(3):
        number = sum((int(word) & 0xFFFFFFFF) << (32 * place) for place, word in enumerate(words[:, column]))
        assert [number >> (bits * i) & (2**bits - 1) for i in range(64)] == codes[:, column].tolist()
    assert torch.equal(from_words(words, bits).long(), codes)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bytes_hold_codes_end_to_end(bits):
    codes = torch.randint(2**bits, (3, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    folded = fold(codes, bits)
    assert folded.shape == (3, 8 * bits) and torch.equal(unfold(folded, bits), codes)
    number = sum(int(byte) << (8 * place) for place, byte in enumerate(folded[1]))
    assert [number >> (bits * i) & (2**bits - 1) for i in range(64)] == codes[1].tolist()
