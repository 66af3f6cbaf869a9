"""Each rated answer beside a mismatched one: the same prompt with the answer of another sample, for KTO's estimate of the KL.

Which answer goes to which prompt follows from the contents alone, not from the order of the rows: samples stand in a ring
ordered by a hash of their tokens, and each takes the answer of the next one with another prompt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from luthier.batches.views import Tokens
from luthier.types import IGNORE_INDEX, Segment

FARTHEST = 64
"""So many neighbours in the ring are looked at; where all have the same prompt, a sample keeps its own answer."""


@dataclass(frozen=True, slots=True)
class _Outline:
    """What is kept of a sample: hashes of all its tokens and of its prompt, and the prompt's length."""

    whole: bytes
    head: bytes
    prompt: int

    @classmethod
    def of(cls, segment: Segment) -> _Outline:
        prompt = _prompt_length(segment)
        return cls(_digest(segment.input_ids), _digest(segment.input_ids[:prompt]), prompt)


class Mismatched(Tokens):
    """Two segments a sample: its own, and its prompt with another sample's answer, cut to the longest sample of all.

    supervised counts the own answer alone: the other only tells how far the model has moved.
    """

    segments_per_sample = 2

    def __init__(self, tokens: Tokens):
        self._tokens = tokens
        outlines = [_Outline.of(tokens.segments(number)[0]) for number in range(len(tokens))]
        prompts = np.array([outline.prompt for outline in outlines], np.int64)
        self._longest = int(tokens.lengths.max(initial=0))
        self._partner = _partners(outlines)
        answers = tokens.lengths - prompts
        self.lengths = tokens.lengths + np.minimum(prompts + answers[self._partner], self._longest)
        self.supervised, self.values, self.rows, self.report = tokens.supervised, tokens.values, tokens.rows, tokens.report

    def segments(self, sample: int) -> list[Segment]:
        (own,), (other,) = self._tokens.segments(sample), self._tokens.segments(int(self._partner[sample]))
        prompt = own.input_ids[: _prompt_length(own)]
        answer = other.input_ids[_prompt_length(other) :][: self._longest - len(prompt)]
        labels = np.concatenate([np.full(len(prompt), IGNORE_INDEX, np.int32), answer])
        return [own, Segment(input_ids=np.concatenate([prompt, answer]), labels=labels)]


def _prompt_length(segment: Segment) -> int:
    return int(np.argmax(np.asarray(segment.labels) != IGNORE_INDEX))


def _partners(outlines: list[_Outline]) -> np.ndarray:
    """The number of the sample whose answer each takes, int64 (samples,)."""
    ring = sorted(range(len(outlines)), key=lambda number: outlines[number].whole)
    partner = np.arange(len(outlines))
    for place, number in enumerate(ring):
        for step in range(1, min(len(ring), FARTHEST + 1)):
            candidate = ring[(place + step) % len(ring)]
            if outlines[candidate].head != outlines[number].head:
                partner[number] = candidate
                break
    return partner


def _digest(ids: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(ids).tobytes(), digest_size=16).digest()
