"""What of a run is judged: its eval loss, the means of its epochs, or its log points; and the last part of that.

What enters: rows of metrics.jsonl. What leaves: Series, against a clock that adds up the learning rate. It never judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.trainer.curve import Array, Trend, trend

LEAST = {"eval": 4, "epochs": 4, "points": 6}
"""How many values of a kind the last part has at least."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last part of a series. change: of a line through it, half_width: of the 95 % interval of that, both in nats (0 where
    there is none).  fall, give: minus the one and the other, as shares of the loss there.  share: of the run's steps."""

    kind: str
    change: float
    half_width: float
    last: float
    share: float
    level: float

    @property
    def fall(self) -> float:
        return -self.change / self.level

    @property
    def give(self) -> float:
        return self.half_width / self.level


@dataclass(frozen=True, slots=True)
class Series:
    """kind: eval, epochs or points.  clock: the learning rate added up over the steps, scaled so that it ends at the last step.
    A curve that flattens only because the schedule ends is still straight against it."""

    kind: str
    steps: Array
    clock: Array
    values: Array

    def tail(self, share: float, floor: float) -> Tail:
        """The last share of the clock. Of two to four evaluations only the last two count, without an interval.

        floor: the level in nats below which changes are not blown up by dividing by it.
        """
        if self.kind == "eval" and len(self.values) < 5:
            count, line = 2, Trend(float(self.values[-1] - self.values[-2]), 0.0, float(self.values[-1]))
        else:
            count = max(int((self.clock >= self.clock[-1] * (1 - share)).sum()), LEAST[self.kind])
            line = trend(self.clock[-count:], self.values[-count:])
        steps = float(self.steps[-1] - self.steps[-count]) / max(float(self.steps[-1]), 1.0)
        return Tail(self.kind, line.change, line.half_width, line.end, steps, max(abs(line.end), floor))

    def split(self, share: float) -> tuple[Series, Series]:
        """Before and in the last share of the clock."""
        at = int((self.clock < self.clock[-1] * (1 - share)).sum())
        parts = [
            Series(self.kind, self.steps[part], self.clock[part], self.values[part]) for part in (slice(at), slice(at, None))
        ]
        return parts[0], parts[1]


def series_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Series]:
    """Every kind that the rows have; "points" and "eval" may be empty, "epochs" is there only if it can be judged.

    Each epoch reads the same samples, so that its mean scatters far less than the points in it.
    """
    points = [row for row in rows if _is_number(row.get("loss"))]
    steps, loss = _column(points, "step"), _column(points, "loss")
    clock = steps
    if points and all(_is_number(row.get("learning_rate")) for row in points) and any(row["learning_rate"] for row in points):
        clock = np.cumsum(_column(points, "learning_rate") * np.diff(steps, prepend=0.0))
        clock = clock * steps[-1] / clock[-1]
    evaluations = [row for row in rows if _is_number(row.get("eval_loss"))]
    eval_steps = _column(evaluations, "step")
    eval_clock = np.interp(eval_steps, [0.0, *steps], [0.0, *clock])
    found = {
        "points": Series("points", steps, clock, loss),
        "eval": Series("eval", eval_steps, eval_clock, _column(evaluations, "eval_loss")),
    }
    if points and all(_is_number(row.get("epoch")) for row in points):
        number = np.ceil(_column(points, "epoch") - 1e-9).astype(int)
        groups = [np.flatnonzero(number == each) for each in np.unique(number)]
        usual = float(np.median([len(group) for group in groups]))
        groups = [group for group in groups if len(group) >= 0.7 * usual]  # an epoch cut short has not read the same samples
        if usual >= 3 and len(groups) >= LEAST["epochs"]:
            columns = (np.array([column[group].mean() for group in groups]) for column in (steps, clock, loss))
            found["epochs"] = Series("epochs", *columns)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> Array:
    return np.array([row[key] for row in rows], dtype=np.float64)
