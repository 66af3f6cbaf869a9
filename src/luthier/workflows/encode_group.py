"""Samples to flat arrays of token ids, a group at a time, in this process or in several.

Enters: samples, a stage and a template. Leaves: one Outcome a group, in the order of the samples.
Never reads or writes a file, and never keeps more than a few groups in memory.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from io import BytesIO
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from luthier.batches.flat import Flat, flat
from luthier.errors import DataError, LuthierError, TemplateError
from luthier.types import Conversation, Encoded, Message, Origin, Preference, Prompt, Rated, Sample, Text, ToolCall

if TYPE_CHECKING:
    from luthier.stages.base import Stage
    from luthier.templates.base import Template

PR_SET_PDEATHSIG = 1
AHEAD = 2
"""So many groups wait for each process, so that none ever waits for its next one."""
ALONE = 500
"""So many first samples are encoded before other processes are started."""


@dataclass(slots=True)
class Outcome:
    """flat: None where nothing of the group is left.  complaints: why samples were skipped.

    counts: samples, stored (pieces of them), tokens (of those), cut_samples, cut_tokens, left_out, unrenderable.
    """

    flat: Flat | None
    counts: Counter[str]
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GroupEncoder:
    """skips: a sample that the template cannot write is counted and left out instead of ending it all."""

    stage: Stage
    template: Template
    skips: bool

    def __call__(self, samples: Sequence[Sample], first: int) -> Outcome:
        """first: the number of the first sample.

        Raises TemplateError for a sample that the template cannot write, DataError by overflow: error.
        """
        complaints: list[str] = []
        pieces = list(self._encoded(samples, complaints))
        counts = Counter(
            samples=len(samples),
            stored=sum(map(len, pieces)),
            tokens=sum(piece.num_tokens for each in pieces for piece in each),
            cut_samples=sum(any(piece.cut_tokens for piece in each) for each in pieces),
            cut_tokens=sum(piece.cut_tokens for each in pieces for piece in each),
            left_out=sum(not each for each in pieces) - len(complaints),
            unrenderable=len(complaints),
        )
        pairs = [(number, piece) for number, each in enumerate(pieces, start=first) for piece in each]
        return Outcome(flat(pairs) if pairs else None, counts, complaints)

    def _encoded(self, samples: Sequence[Sample], complaints: list[str]) -> Iterable[list[Encoded]]:
        try:
            return self.stage.encode(samples, self.template)
        except TemplateError:
            if not self.skips:
                raise
        return [self._alone(sample, complaints) for sample in samples]

    def _alone(self, sample: Sample, complaints: list[str]) -> list[Encoded]:
        try:
            return self.stage.encode([sample], self.template)[0]
        except TemplateError as error:
            complaints.append(error.message)
            return []


def encode_groups(encoder: GroupEncoder, samples: Iterable[Sample], size: int, workers: int) -> Iterator[Outcome]:
    """Outcomes of all samples in groups of size. workers: processes; more than one where this machine has so many cores.

    The first samples are encoded here, so that a tiny set starts no process, and what a template says once is said once.
    """
    workers = min(workers, _cores())
    if workers < 2 or sys.platform != "linux":  # elsewhere a process cannot begin with what this one has loaded
        yield from (encoder(group, first) for first, group in _groups(samples, size))
        return
    stream = iter(samples)
    alone = list(islice(stream, min(size, ALONE)))
    if alone:
        yield encoder(alone, 0)
        yield from _in_processes(encoder, _groups(stream, size, len(alone)), workers)


def _groups(samples: Iterable[Sample], size: int, first: int = 0) -> Iterator[tuple[int, list[Sample]]]:
    """(number of its first sample, group)."""
    stream = iter(samples)
    while group := list(islice(stream, size)):
        yield first, group
        first += len(group)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(encoder: GroupEncoder, numbered: Iterator[tuple[int, list[Sample]]], workers: int) -> Iterator[Outcome]:
    waiting: deque[Future[bytes]] = deque()
    with _one_thread_each(), ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _begin, (encoder,)) as pool:
        try:
            for first, group in numbered:
                waiting.append(pool.submit(_work, _dumps(group), first))
                if len(waiting) >= AHEAD * workers:
                    yield _received(waiting.popleft())
            while waiting:
                yield _received(waiting.popleft())
        except BrokenProcessPool:
            raise DataError(
                "a process that tokenises was killed, probably because memory ran out.",
                f"Lower preprocessing_num_workers (now {workers}) or preprocessing_batch_size.",
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """tokenizers must not use the threads of the process that was forked: they are not there (its own documented switch)."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


_encoder: list[GroupEncoder] = []
"""In a worker process: what it does, handed over once, when it is forked."""


def _begin(encoder: GroupEncoder) -> None:
    """An interrupt is the parent's to handle, and no worker outlives it.

    What was forked stays as it is, and a group makes hundreds of thousands of tuples but no cycles: looking for garbage after
    every 700 of them took an eighth of the time.
    """
    gc.freeze()
    gc.set_threshold(200_000)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _encoder.append(encoder)


def _work(group: bytes, first: int) -> bytes:
    try:
        result: Any = _encoder[0](pickle.loads(group), first)
    except LuthierError as error:
        result = (type(error), error.message, error.remedy)
    return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)


def _received(future: Future[bytes]) -> Outcome:
    result = pickle.loads(future.result())
    if isinstance(result, Outcome):
        return result
    kind, message, remedy = result
    raise kind(message, remedy)


FIELDS = {
    kind: attrgetter(*(each.name for each in fields(kind)))
    for kind in (Origin, ToolCall, Message, Conversation, Preference, Rated, Prompt, Text)
}


class _Pickler(pickle.Pickler):
    """Samples as their class and its values: several times faster than what frozen dataclasses do by themselves."""

    dispatch_table = dict.fromkeys(FIELDS, lambda item: (_remade, (type(item), *FIELDS[type(item)](item))))


def _remade(kind: type, *values: Any) -> Any:
    return kind(**dict(zip(kind.__slots__, values)))


def _dumps(group: list[Sample]) -> bytes:
    buffer = BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(group)
    return buffer.getvalue()
