"""Which samples make which optimizer step, and how a step is cut into micro-batches.

The user's numbers keep their meaning: batch size x accumulation x devices samples (packed rows, where packing is on) make one
optimizer step. How those are cut is ours: longest first, as many tokens together as memory allows, the same work on each rank.
The plan of step k is a pure function of (data, seed, k), so resuming needs nothing but k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from luthier.batches.collate import collate
from luthier.batches.views import Tokens
from luthier.types import Batch

Sums = Mapping[str, tuple[Tensor | float, Tensor | float]]
"""name -> (sum, count)"""

Score = Callable[[Batch], tuple[Tensor, Sums]]
"""A micro-batch -> (its summed loss, metrics)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step. samples: all of its samples, on all ranks. tokens, supervised: their sums.

    parts: the optimizer updates that it is made of, where there are several on the same samples (batches/rollouts.py); none:
    the step is one update.  metrics: name -> (sum, count), what making the samples told.
    """

    number: int
    epoch: float
    samples: np.ndarray
    tokens: int
    supervised: int
    parts: tuple[Step, ...] = ()
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Loader:
    """store: what to learn.  units: what counts as one sample for the batch size: arrays of sample numbers (packed rows), or
    None for single samples.  samples_per_step: batch size x accumulation x devices.  shuffle: a new order each epoch.
    left_out: units at the end of each epoch's order that it does not learn."""

    def __init__(
        self,
        store: Tokens,
        *,
        samples_per_step: int,
        seed: int,
        shuffle: bool = True,
        units: Sequence[np.ndarray] | None = None,
        left_out: int = 0,
    ):
        self.store = store
        self.samples_per_step = samples_per_step
        self._seed = seed
        self._shuffle = shuffle
        self._units = units
        self.num_units = len(store) if units is None else len(units)
        self.left_out = left_out
        self.steps_per_epoch = -(-(self.num_units - left_out) // samples_per_step)
        self._epoch_order: tuple[int, np.ndarray] | None = None

    def step(self, number: int) -> Step:
        """The step after `number` finished ones: step(0) is the first."""
        epoch, within = divmod(number, self.steps_per_epoch)
        order = self._order(epoch)[within * self.samples_per_step : (within + 1) * self.samples_per_step]
        samples = order if self._units is None else np.concatenate([self._units[unit] for unit in order])
        return Step(
            number=number,
            epoch=epoch + min(1.0, (within + 1) / self.steps_per_epoch),
            samples=samples,
            tokens=int(self.store.lengths[samples].sum()),
            supervised=int(self.store.supervised[samples].sum()),
        )

    def batches(
        self, step: Step, *, max_tokens: int, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """This rank's share of the step, in micro-batches of max_tokens at the most."""
        mine = shares(self.store.lengths, step.samples, world_size)[rank]
        for group in micro_batches(self.store.lengths, mine, max_tokens):
            yield collate(self.store, group, device)

    def _order(self, epoch: int) -> np.ndarray:
        if self._epoch_order is None or self._epoch_order[0] != epoch:
            generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
            order = generator.permutation(self.num_units) if self._shuffle else np.arange(self.num_units)
            self._epoch_order = (epoch, order[: self.num_units - self.left_out])
        return self._epoch_order[1]


def micro_batches(lengths: np.ndarray, samples: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """The samples in groups of max_tokens at the most, longest first; a longer sample stands alone.

    lengths: tokens of every sample of the store.  Neighbours have like lengths, so the padded layout wastes little too.
    """
    order = samples[np.argsort(-lengths[samples], kind="stable")]
    groups: list[list[int]] = []
    room = 0
    for sample in order:
        length = int(lengths[sample])
        if length > room or not groups:
            groups.append([])
            room = max_tokens
        groups[-1].append(int(sample))
        room -= length
    return [np.array(group, dtype=np.int64) for group in groups]


def shares(lengths: np.ndarray, samples: np.ndarray, world_size: int) -> list[np.ndarray]:
    """The samples dealt to ranks so that each gets about as many tokens (longest first, to the rank with the fewest)."""
    if world_size == 1:
        return [samples]
    loads = np.zeros(world_size, np.int64)
    hands: list[list[int]] = [[] for _ in range(world_size)]
    for sample in samples[np.argsort(-lengths[samples], kind="stable")]:
        rank = int(loads.argmin())
        hands[rank].append(int(sample))
        loads[rank] += lengths[sample]
    return [np.array(hand, dtype=np.int64) for hand in hands]


class EvaluationLoader:
    """Every sample of a store once, in micro-batches of like length."""

    def __init__(self, store: Tokens):
        self.store = store

    def groups(self, max_tokens: int) -> list[np.ndarray]:
        return micro_batches(self.store.lengths, np.arange(len(self.store)), max_tokens)

    def batch(self, group: np.ndarray, device: torch.device | str = "cpu") -> Batch:
        return collate(self.store, group, device)

    def sums(self, group: np.ndarray, compute: Score, unit: str, device: torch.device | str = "cpu") -> Sums:
        """The loss of a group and its metrics. unit: what the loss is a mean over, "token" (supervised ones) or "sample"."""
        loss, metrics = compute(self.batch(group, device))
        count = int(self.store.supervised[group].sum()) if unit == "token" else len(group)
        return {"loss": (loss, count), **metrics}
