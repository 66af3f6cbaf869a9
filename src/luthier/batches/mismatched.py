"""Each rated answer beside a mismatched one: the same prompt with the answer of another sample, for KTO's estimate of the KL.

Which answer goes to which prompt follows from the contents alone, not from the order of the rows: samples stand in a ring
ordered by a hash of their tokens, and each takes the answer of the next one with another prompt.
"""

from __future__ import annotations

import hashlib

import numpy as np

from luthier.batches.views import Tokens
from luthier.types import IGNORE_INDEX, Segment

FARTHEST = 64
"""So many neighbours in the ring are looked at; where all have the same prompt, a sample keeps its own answer."""


class Mismatched(Tokens):
    """Two segments a sample: its own, and its prompt with another sample's answer, cut to the longest sample of all.

    supervised counts the own answer alone: the other only tells how far the model has moved.
    """

    segments_per_sample = 2

    def __init__(self, tokens: Tokens):
        self._tokens = tokens
        segments = [tokens.segments(number)[0] for number in range(len(tokens))]
        self._longest = max((segment.num_tokens for segment in segments), default=0)
        prompts = [_prompt_length(segment) for segment in segments]
        self._partner = _partners(segments, prompts)
        other = [segments[partner].num_tokens - prompts[partner] for partner in self._partner]
        mixed = np.minimum(np.add(prompts, other), self._longest) if segments else np.zeros(0, np.int64)
        self.lengths = tokens.lengths + mixed
        self.supervised, self.values, self.rows, self.report = tokens.supervised, tokens.values, tokens.rows, tokens.report

    def segments(self, sample: int) -> list[Segment]:
        (own,), (other,) = self._tokens.segments(sample), self._tokens.segments(int(self._partner[sample]))
        prompt = own.input_ids[: _prompt_length(own)]
        answer = other.input_ids[_prompt_length(other) :][: self._longest - len(prompt)]
        labels = np.concatenate([np.full(len(prompt), IGNORE_INDEX, np.int32), answer])
        return [own, Segment(input_ids=np.concatenate([prompt, answer]), labels=labels)]


def _prompt_length(segment: Segment) -> int:
    return int(np.argmax(np.asarray(segment.labels) != IGNORE_INDEX))


def _partners(segments: list[Segment], prompts: list[int]) -> np.ndarray:
    digests = [hashlib.blake2b(np.asarray(segment.input_ids).tobytes(), digest_size=16).digest() for segment in segments]
    ring = sorted(range(len(segments)), key=digests.__getitem__)
    heads = [np.asarray(segments[number].input_ids[: prompts[number]]).tobytes() for number in range(len(segments))]
    partner = np.arange(len(segments))
    for place, number in enumerate(ring):
        for step in range(1, min(len(ring), FARTHEST + 1)):
            candidate = ring[(place + step) % len(ring)]
            if heads[candidate] != heads[number]:
                partner[number] = candidate
                break
    return partner
