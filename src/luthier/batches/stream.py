"""Steps from data that is never read as a whole: a window of samples at a time.

A window is a small token store; its steps are those of a Loader that goes once over it, so batches, packing and shuffling are
the same as ever, within a window. While one is learned the next is made in a thread, and older ones are deleted, so that
memory and disk stay flat. When the data has run out it begins again.

The steps of a window and the place of the next are noted in a file. A training that resumes looks up the window of its step
and passes over what comes before without tokenising it; without that file it makes the windows again, to the same bits.
"""

from __future__ import annotations

import json
import shutil
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import torch

from luthier.batches.loader import Loader, Step
from luthier.batches.store import EncodedStore
from luthier.batches.views import Tokens
from luthier.runtime.files import write_atomic
from luthier.types import Batch

Arrange = Callable[[EncodedStore], tuple[Tokens, "Sequence[np.ndarray] | None"]]
"""A window's store to what is learned (the store, or blocks of it) and its units (packed rows; None for single samples)."""

MakeWindow = Callable[[int, Path, Event], EncodedStore]
"""(number of its first sample in the data, folder, no_longer_wanted) -> the window. Its report holds next_sample: where the one
after it begins. Once no_longer_wanted is set it may raise whatever it likes."""

INDEX = "windows.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """first_sample: its place in the data.  next_sample: where the window after it begins.  first_step, steps: its steps."""

    first_sample: int
    next_sample: int
    first_step: int
    steps: int


class StreamLoader:
    """What Loader is for a whole store.

    make: makes or opens a window.  folder: where windows lie; the ranks of one training share it, two trainings must not.
    first_sample: where the first window begins.  total_steps: the length of the training (a stream has no epochs of its own).
    """

    def __init__(
        self,
        make: MakeWindow,
        arrange: Arrange,
        *,
        folder: Path,
        first_sample: int,
        samples_per_step: int,
        total_steps: int,
        seed: int,
        shuffle: bool = True,
    ):
        self._make, self._arrange, self._folder = make, arrange, folder
        self.samples_per_step = samples_per_step
        self.steps_per_epoch = total_steps
        self._first_sample, self._seed, self._shuffle = first_sample, seed, shuffle
        self._windows = _read_index(folder / INDEX)
        self._thread = ThreadPoolExecutor(1, "windows")
        self._stopped = Event()
        self._ahead: tuple[int, Future[EncodedStore]] | None = None
        self._number, self._loader = -1, None
        weakref.finalize(self, _close, self._thread, self._stopped, folder)
        self._go_to(0)

    @property
    def store(self) -> Tokens:
        """The samples of the window that the last step was of."""
        return self._loader.store

    @property
    def num_units(self) -> int:
        return self._loader.num_units

    def step(self, number: int) -> Step:
        """The step after `number` finished ones, as Loader.step; its samples are numbers in `store`."""
        while not self._windows or number >= self._windows[-1].first_step + self._windows[-1].steps:
            self._go_to(len(self._windows))
        window = bisect_right([each.first_step for each in self._windows], number) - 1
        self._go_to(window)
        local = number - self._windows[window].first_step
        step = self._loader.step(window * self._loader.steps_per_epoch + local)  # the window's number is its order's seed
        return replace(step, number=number, epoch=min(1.0, (number + 1) / self.steps_per_epoch))

    def batches(
        self, step: Step, *, max_tokens: int, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        return self._loader.batches(step, max_tokens=max_tokens, device=device, rank=rank, world_size=world_size)

    def _go_to(self, number: int) -> None:
        """Open window `number`, of which the place is known: it is in the index, or follows the last that is."""
        if number == self._number:
            return
        known = self._windows[number] if number < len(self._windows) else None
        first_sample = known.first_sample if known else self._place(number)
        store = self._take(first_sample)
        tokens, units = self._arrange(store)
        self._number = number
        self._loader = Loader(
            tokens, samples_per_step=self.samples_per_step, seed=self._seed, shuffle=self._shuffle, units=units
        )
        if known is None:
            self._windows.append(
                Window(
                    first_sample=first_sample,
                    next_sample=store.report["next_sample"],
                    first_step=self._windows[-1].first_step + self._windows[-1].steps if self._windows else 0,
                    steps=self._loader.steps_per_epoch,
                )
            )
            index = json.dumps([asdict(window) for window in self._windows])
            write_atomic(self._folder / INDEX, index, durable=False)  # every process of a training writes the same one
        self._prepare(self._windows[number].next_sample, keep=first_sample)

    def _place(self, number: int) -> int:
        return self._windows[number - 1].next_sample if number else self._first_sample

    def _take(self, first_sample: int) -> EncodedStore:
        """The window that begins there: the one that was made ahead, or made now."""
        ahead, self._ahead = self._ahead, None
        if ahead and ahead[0] == first_sample:
            return ahead[1].result()
        if ahead:
            ahead[1].cancel()
        return self._submit(first_sample).result()

    def _prepare(self, first_sample: int, keep: int) -> None:
        """Begin to make the next window, and delete all but it and the one in use."""
        for old in self._folder.iterdir():
            if old.is_dir() and old not in (self._path(first_sample), self._path(keep)) and not old.name.startswith("."):
                shutil.rmtree(old, ignore_errors=True)
        window = self._windows[self._number]
        if window.first_step + window.steps < self.steps_per_epoch:
            self._ahead = first_sample, self._submit(first_sample)

    def _submit(self, first_sample: int) -> Future[EncodedStore]:
        return self._thread.submit(self._make, first_sample, self._path(first_sample), self._stopped)

    def _path(self, first_sample: int) -> Path:
        return self._folder / str(first_sample)


def _close(thread: ThreadPoolExecutor, stopped: Event, folder: Path) -> None:
    """Only the index stays: it is a few bytes a window, and what resuming needs."""
    stopped.set()
    thread.shutdown(wait=True, cancel_futures=True)
    for window in folder.iterdir():
        if window.is_dir():
            shutil.rmtree(window, ignore_errors=True)


def _read_index(path: Path) -> list[Window]:
    """Empty where there is none that can be read."""
    try:
        return [Window(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
