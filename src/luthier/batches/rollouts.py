"""Steps whose samples are made on the way: prompts are chosen as Loader chooses samples and answered by the model as it is.

One step is one round of answers; it is made of as many optimizer updates as its parts say. Between two steps nothing is kept,
so that a training resumes at any step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from luthier.batches.collate import collate
from luthier.batches.loader import EvaluationLoader, Loader, Score, Step, Sums, micro_batches, shares
from luthier.batches.views import Tokens
from luthier.types import Batch, Encoded, Segment

ASKED_AT_ONCE = 32
"""Held-out prompts that are answered before progress is told."""


class Rollouts(Tokens):
    """Answered prompts in memory. notes: name -> one array a rollout, of its learned tokens."""

    def __init__(self, encoded: Sequence[Encoded], notes: Mapping[str, Sequence[np.ndarray]] | None = None):
        self._segments = [list(item.segments) for item in encoded]
        self.notes = dict(notes or {})
        self.segments_per_sample = len(self._segments[0]) if encoded else 1
        self.lengths = np.array([item.num_tokens for item in encoded], np.int64)
        self.supervised = np.array([sum(int((s.labels[1:] >= 0).sum()) for s in item.segments) for item in encoded], np.int64)
        self.values = np.array([item.value for item in encoded], np.float32)
        self.rows = np.arange(len(encoded))
        self.report = {}

    def segments(self, sample: int) -> list[Segment]:
        return self._segments[sample]

    def batch(self, samples: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """collate, with the notes of these samples."""
        notes = {
            name: torch.from_numpy(np.concatenate([arrays[number] for number in samples])).float().to(device)
            for name, arrays in self.notes.items()
        }
        return dataclasses.replace(collate(self, samples, device), notes=notes)

    def batches(self, samples: np.ndarray, max_tokens: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        for group in micro_batches(self.lengths, samples, max_tokens):
            yield self.batch(group, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What playing one step gave. updates: the rollouts of each optimizer update.  metrics: name -> (sum, count)."""

    rollouts: Rollouts
    updates: Sequence[np.ndarray]
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class RolloutLoader:
    """What Loader is for samples that lie on disk.

    prompts: chooses the prompts of each step.  play(numbers of prompts, step): answers and judges them.
    longest: tokens that an answer may have; until the first round, prompts with answers of this length stand for what comes.
    """

    def __init__(self, prompts: Loader, play: Callable[[np.ndarray, int], Round], longest: int):
        self._prompts, self._play = prompts, play
        self.store: Tokens = _Expected(prompts.store, longest)
        self.samples_per_step, self.num_units = prompts.samples_per_step, prompts.num_units
        self.steps_per_epoch = prompts.steps_per_epoch

    def step(self, number: int) -> Step:
        """Plays the step: the model answers now."""
        chosen = self._prompts.step(number)
        played = self._play(chosen.samples, number)
        self.store = played.rollouts
        parts = tuple(self._part(chosen, samples) for samples in played.updates)
        whole = self._part(chosen, np.arange(len(played.rollouts)))
        return dataclasses.replace(whole, parts=parts, metrics=played.metrics)

    def _part(self, step: Step, samples: np.ndarray) -> Step:
        return dataclasses.replace(
            step,
            samples=samples,
            tokens=int(self.store.lengths[samples].sum()),
            supervised=int(self.store.supervised[samples].sum()),
        )

    def batches(
        self, step: Step, *, max_tokens: int, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        assert isinstance(self.store, Rollouts)
        mine = shares(self.store.lengths, step.samples, world_size)[rank]
        yield from self.store.batches(mine, max_tokens, device)


class AnswerLoader(EvaluationLoader):
    """Held-out prompts, answered anew at every evaluation. judge: numbers of prompts -> name -> (sum, count)."""

    def __init__(self, prompts: Tokens, judge: Callable[[np.ndarray], Sums]):
        super().__init__(prompts)
        self._judge = judge

    def groups(self, max_tokens: int) -> list[np.ndarray]:
        """max_tokens does not matter: the engine knows what the memory holds."""
        order = np.argsort(-self.store.lengths, kind="stable")
        return np.array_split(order, -(-len(order) // ASKED_AT_ONCE))

    def sums(self, group: np.ndarray, compute: Score, unit: str, device: torch.device | str = "cpu") -> Sums:
        return self._judge(group)


class _Expected(Tokens):
    """Prompts with answers of the greatest length: what a plan is made for."""

    def __init__(self, prompts: Tokens, longest: int):
        self._prompts = prompts
        self.lengths = prompts.lengths + longest
        self.supervised = np.full(len(prompts), longest, np.int64)
        self.values, self.rows, self.report = prompts.values, prompts.rows, prompts.report
        self.segments_per_sample = prompts.segments_per_sample

    def segments(self, sample: int) -> list[Segment]:
        return self._prompts.segments(sample)
