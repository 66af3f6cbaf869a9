"""Metrics files, read as they grow and thinned to what a screen can show.

Enters: the metrics.jsonl of a run.  Leaves: series of [step, value], at most POINTS each.  Rows are parsed once: a file that
grew is read on from where it ended, one that was rewritten (a resumed run) from its beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson

POINTS = 600
"""Points of one curve: more than most charts have pixels between two of them."""

REMEMBERED = 64
Series = list[list[float]]


class Curves:
    """Every number of the runs that were looked at last, by name."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, _File] = OrderedDict()

    def read(self, file: Path) -> dict[str, np.ndarray]:
        """name -> (N, 2) of steps and values. Empty where there is no file yet."""
        known = self._files.get(file)
        if known is None:
            known = self._files[file] = _File(file)
            while len(self._files) > REMEMBERED:
                self._files.popitem(last=False)
        self._files.move_to_end(file)
        return known.read()

    def thinned(self, file: Path, names: Iterable[str], points: int = POINTS, smoothing: float = 0.0) -> dict[str, Series]:
        """The named series that the run has, thinned. smoothing: share of the points that are averaged, 0 for none."""
        columns = self.read(file)
        out = {}
        for name in names:
            if name in columns and len(columns[name]):
                values = columns[name]
                if smoothing:
                    values = np.column_stack([values[:, 0], smooth(values[:, 1], smoothing)])
                out[name] = thin(values, points).tolist()
        return out


class _File:
    def __init__(self, path: Path):
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.offset, self.head = 0, b""
        self.rows: dict[str, list[tuple[float, float]]] = {}
        self.columns: dict[str, np.ndarray] = {}

    def read(self) -> dict[str, np.ndarray]:
        try:
            size = self.path.stat().st_size
        except OSError:
            self._forget()
            return {}
        if size == self.offset:
            return self.columns
        with self.path.open("rb") as file:
            head = file.read(min(64, size))
            if size < self.offset or not head.startswith(self.head[: len(head)]):
                self._forget()
            self.head = head
            file.seek(self.offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1  # a row that is just being written is left for the next time
        if whole:
            self.offset += whole
            for line in data[:whole].splitlines():
                self._take(line)
            self.columns = {name: np.asarray(pairs, dtype=np.float64) for name, pairs in self.rows.items()}
        return self.columns

    def _take(self, line: bytes) -> None:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int | float):
            return
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                self.rows.setdefault(name, []).append((step, value))


def thin(values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """At most points rows of (N, 2): of each stretch its lowest and its highest, so that no spike is lost; both ends stay."""
    count = len(values)
    if count <= points:
        return values
    edges = np.linspace(0, count, points // 2, dtype=int)  # one stretch less than half: room for both ends
    kept = {0, count - 1}
    for start, end in pairwise(edges):
        stretch = values[start:end, 1]
        kept.add(start + int(stretch.argmin()))
        kept.add(start + int(stretch.argmax()))
    return values[sorted(kept)]


def smooth(values: np.ndarray, share: float) -> np.ndarray:
    """A centred average whose window is this share of all points (never fewer than 3), so that the curve does not lag behind.

    Near the ends the window is cut; weights fall linearly from its middle.
    """
    half = max(1, round(share * len(values) / 2))
    weights = 1.0 - np.abs(np.arange(-half, half + 1)) / (half + 1)
    sums = np.convolve(values, weights, mode="full")[half : half + len(values)]
    return sums / np.convolve(np.ones(len(values)), weights, mode="full")[half : half + len(values)]
