"""Texts that occur again, exactly or nearly, found in one pass with little memory.

Near means: of the runs of three words (a Chinese character counts as a word) of both texts together, at least 80 % are in
both, as estimated by MinHash (Broder 1997) with 128 hashes; candidates come from 16 bands of 8 (locality-sensitive hashing).
"""

from __future__ import annotations

import hashlib
import re
import zlib

import numpy as np

RUN_WORDS = 3
NUM_HASHES = 128
NUM_BANDS = 16
NEAR_SHARE = 0.8
SHOWN_PER_BAND = 8
_WORDS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\\w+")


class ExactDuplicates:
    """Same text but for white space and case."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}
        self._count = 0

    def add(self, text: str) -> int | None:
        """The number (from 0) of the first text like this one, None if it is new. Every call numbers one text."""
        number, self._count = self._count, self._count + 1
        first = self._seen.setdefault(_digest(text), number)
        return None if first == number else first

    def find(self, text: str) -> int | None:
        """The same without remembering text."""
        return self._seen.get(_digest(text))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=12).digest()


class NearDuplicates:
    """max_texts: later texts are compared with the first max_texts only, so that memory stays bounded."""

    def __init__(self, max_texts: int = 200_000) -> None:
        rng = np.random.default_rng(0)
        self._a = rng.integers(1, 2**64, size=(NUM_HASHES, 1), dtype=np.uint64) | np.uint64(1)
        self._b = rng.integers(0, 2**64, size=(NUM_HASHES, 1), dtype=np.uint64)
        self._max_texts = max_texts
        self._signatures: list[np.ndarray] = []
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(NUM_BANDS)]

    def __len__(self) -> int:
        return len(self._signatures)

    def find(self, text: str) -> int | None:
        """The number (from 0) of an earlier text that is nearly this one."""
        return self._find(self._signature(text))

    def add(self, text: str) -> int | None:
        """find, then remember text."""
        signature = self._signature(text)
        found = self._find(signature)
        if len(self) < self._max_texts:
            for band, key in zip(self._bands, self._keys(signature)):
                numbers = band.setdefault(key, [])
                if len(numbers) < SHOWN_PER_BAND:
                    numbers.append(len(self))
            self._signatures.append(signature)
        return found

    def _find(self, signature: np.ndarray) -> int | None:
        candidates = {number for band, key in zip(self._bands, self._keys(signature)) for number in band.get(key, ())}
        for number in sorted(candidates):
            if np.mean(self._signatures[number] == signature) >= NEAR_SHARE:
                return number
        return None

    def _keys(self, signature: np.ndarray) -> list[bytes]:
        return [part.tobytes() for part in np.split(signature, NUM_BANDS)]

    def _signature(self, text: str) -> np.ndarray:
        """The smallest of each hash over all runs of words, uint32 (NUM_HASHES)."""
        runs = word_runs(text)
        return ((self._a * runs + self._b) >> np.uint64(32)).min(axis=1).astype(np.uint32)


def word_runs(text: str) -> np.ndarray:
    """The distinct runs of RUN_WORDS words as hashes, uint64; a shorter text is one run."""
    words = [zlib.crc32(word.encode()) for word in _WORDS.findall(text.lower())] or [zlib.crc32(text.encode())]
    codes = np.array(words, dtype=np.uint64)
    if len(codes) < RUN_WORDS:
        codes = np.concatenate([codes, np.zeros(RUN_WORDS - len(codes), np.uint64)])
    windows = np.lib.stride_tricks.sliding_window_view(codes, RUN_WORDS)
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
    return np.unique((windows * factors).sum(axis=1, dtype=np.uint64))
