"""Progress of long work: live bars on a terminal, a plain line now and then elsewhere, nothing with -q.

What enters: how much there is to do and how much is done. What leaves: the bar. It never measures or logs results.

    with progress_bars() as bars:
        bar = bars.add("predict", total=200)
        for done in range(200):
            ...
            bar.update(done + 1, "rouge-1 61.2")
        bar.close()
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from luthier.runtime.logging import console, is_quiet

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Bar(Protocol):
    """One line of progress."""

    def update(self, done: int, text: str = "") -> None: ...

    def close(self) -> None: ...


class Bars(Protocol):
    """A place for bars; several may be shown at once. A context manager."""

    is_live: bool

    def add(self, label: str, total: int | None, done: int = 0) -> Bar: ...

    def __enter__(self) -> Bars: ...

    def __exit__(self, *error: object) -> None: ...


def progress_bars(disable: bool = False) -> Bars:
    """The bars that suit this process: none if quiet or disabled, live on a terminal, plain lines otherwise."""
    if is_quiet():
        return NoBars()
    return LiveBars() if console().is_terminal and not disable else PlainBars()


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Go through items with a bar. total: their number, where items has no len()."""
    total = len(items) if total is None and hasattr(items, "__len__") else total  # type: ignore[arg-type]
    with progress_bars() as bars:
        bar = bars.add(label, total)
        for done, item in enumerate(items, start=1):
            yield item
            bar.update(done)
        bar.close()


def duration(seconds: float) -> str:
    """3725 -> "1:02:05", 65 -> "1:05"."""
    text = str(timedelta(seconds=max(round(seconds), 0)))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text


class NoBars:
    """Nothing is shown."""

    is_live = False

    def add(self, label: str, total: int | None, done: int = 0) -> Bar:
        return _NoBar()

    def __enter__(self) -> NoBars:
        return self

    def __exit__(self, *error: object) -> None: ...


class _NoBar:
    def update(self, done: int, text: str = "") -> None: ...

    def close(self) -> None: ...


class PlainBars(NoBars):
    """A line every ten seconds, and one at the end, for logs and pipes."""

    def __init__(self, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic):
        self.every_s = every_s
        self.clock = clock

    def add(self, label: str, total: int | None, done: int = 0) -> Bar:
        return _PlainBar(self, label, total, done)


class _PlainBar:
    def __init__(self, bars: PlainBars, label: str, total: int | None, done: int):
        self.bars, self.label, self.total, self.first, self.done, self.text = bars, label, total, done, done, ""
        self.began = self.shown = bars.clock()

    def update(self, done: int, text: str = "") -> None:
        self.done, self.text = done, text
        if self.bars.clock() - self.shown >= self.bars.every_s:
            self._show()

    def close(self) -> None:
        self._show()

    def _show(self) -> None:
        self.shown = self.bars.clock()
        elapsed = self.shown - self.began
        count = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        left = ""
        if self.total and self.first < self.done < self.total:
            left = f", {duration(elapsed / (self.done - self.first) * (self.total - self.done))} left"
        log.info("%s %s, %s%s%s", self.label, count, duration(elapsed), left, f"  {self.text}" if self.text else "")


class LiveBars:
    """rich's live display. Messages of the log appear above it."""

    is_live = True

    def __init__(self) -> None:
        from rich import progress as rich

        self._progress = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=30, complete_style="green", finished_style="green"),
            rich.TextColumn("{task.completed:.0f}/{task.fields[goal]}"),
            rich.TextColumn("{task.fields[text]}"),
            rich.TextColumn("[dim]{task.fields[left]}"),
            console=console(),
            transient=True,
            refresh_per_second=4,
        )

    def add(self, label: str, total: int | None, done: int = 0) -> Bar:
        return _LiveBar(self._progress, label, total, done)

    def __enter__(self) -> LiveBars:
        self._progress.start()
        atexit.register(self._progress.stop)  # a hidden cursor must not outlive the process, however it ends
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        atexit.unregister(self._progress.stop)


class _LiveBar:
    def __init__(self, progress: Any, label: str, total: int | None, done: int):
        self.progress, self.total, self.first = progress, total, done
        self.began = time.monotonic()
        goal = "?" if total is None else str(total)
        self.task = progress.add_task(label, total=total, completed=done, text="", left="", goal=goal)

    def update(self, done: int, text: str = "") -> None:
        left = ""
        if self.total and done > self.first:
            rest = (time.monotonic() - self.began) / (done - self.first) * (self.total - done)
            left = f"{duration(rest)} left"
        self.progress.update(self.task, completed=done, text=text, left=left)

    def close(self) -> None:
        self.progress.remove_task(self.task)
