"""Several streams of samples to one: one after the other, or interleaved.

concat            the first set, then the second ...
interleave_under  in turn, until the first set has run out
interleave_over   in turn, until the last set has run out; sets that ran out begin again
interleave_once   in turn, until the last set has run out; sets that ran out are left out, nothing comes twice

With interleave_probs the next set is drawn at random by these weights, from the seed; without them it is strictly in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from luthier.types import Sample

Start = Callable[[], Iterator[Sample]]
DRAWN_AT_ONCE = 1024


def mix(starts: Sequence[Start], strategy: str, probabilities: Sequence[float] | None, seed: int) -> Iterator[Sample]:
    """One stream. starts: for each set a function that begins a pass over it.  strategy: one of the four above."""
    if strategy == "concat" or len(starts) == 1:
        for start in starts:
            yield from start()
        return
    streams = [_Stream(start) for start in starts]
    if probabilities is None:
        yield from _in_turn(streams, strategy)
    else:
        yield from _drawn(streams, strategy, probabilities, seed)


def _in_turn(streams: list[_Stream], strategy: str) -> Iterator[Sample]:
    """Whole rounds, each set once: as many as the shortest (under) or the longest set (over, once) has samples."""
    while not _is_done(streams, strategy):
        for stream in streams:
            if stream.has_more or strategy == "interleave_over":
                yield stream.take()


def _drawn(streams: list[_Stream], strategy: str, probabilities: Sequence[float], seed: int) -> Iterator[Sample]:
    rng = np.random.default_rng(seed)
    weights = np.asarray(probabilities, dtype=np.float64)
    while True:
        for index in rng.choice(len(streams), size=DRAWN_AT_ONCE, p=weights / weights.sum()):
            if _is_done(streams, strategy):
                return
            if streams[index].has_more or strategy == "interleave_over":
                yield streams[index].take()


def _is_done(streams: list[_Stream], strategy: str) -> bool:
    if strategy == "interleave_under":
        return any(stream.ran_out for stream in streams)
    return all(stream.ran_out for stream in streams)


_NOTHING = object()


class _Stream:
    """A set read one sample ahead, so that it is known to have run out as soon as its last sample is taken.

    ran_out: its last sample was taken at least once.
    """

    def __init__(self, start: Start):
        self.start = start
        self.ran_out = False
        self._begin()

    @property
    def has_more(self) -> bool:
        return self.ahead is not _NOTHING

    def take(self) -> Sample:
        """The next sample; begins again from the first when there is none."""
        if not self.has_more:
            self._begin()
        sample, self.ahead = self.ahead, next(self.samples, _NOTHING)
        self.ran_out = self.ran_out or not self.has_more
        return sample

    def _begin(self) -> None:
        self.samples = self.start()
        self.ahead = next(self.samples, _NOTHING)
