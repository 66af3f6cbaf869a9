"""Statistics of a curve of (step, value) points: its noise, its trend with an interval, its rolling level, its limit.

What enters: arrays. What leaves: numbers. Nothing here knows what the numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, normal values: sqrt(pi / 2)."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through some points. change: over their whole length; half_width: of its 95 % interval; end: the line's
    value at the last point."""

    change: float
    half_width: float
    end: float


def noise(values: Array) -> float:
    """Standard deviation of one point around the curve, from the differences of neighbours, so that a slope does not count and
    a few outliers do not matter."""
    if len(values) < 3:
        return 0.0
    differences = np.diff(values)
    return float(NORMAL_MAD * np.median(np.abs(differences - np.median(differences))) / np.sqrt(2))


def trend(steps: Array, values: Array) -> Trend:
    """Least squares; the interval is widened where neighbouring residuals go together (first-order autocorrelation r:
    factor sqrt((1 + r) / (1 - r)))."""
    count = len(steps)
    x = steps - steps.mean()
    slope = float((x @ (values - values.mean())) / (x @ x))
    residuals = values - values.mean() - slope * x
    spread = float(residuals @ residuals)
    r = float(residuals[1:] @ residuals[:-1]) / spread if spread > 0 else 0.0
    r = min(max(r, 0.0), 0.9)
    error = np.sqrt(spread / max(count - 2, 1) / (x @ x) * (1 + r) / (1 - r))
    length = float(steps[-1] - steps[0])
    return Trend(slope * length, float(t_975(count - 2) * error * length), float(values.mean() + slope * x[-1]))


def t_975(degrees: int) -> float:
    """The 97.5 % point of Student's t, by the expansion of Abramowitz & Stegun 26.7.5; within 2 % from 3 degrees on."""
    z, n = 1.959964, max(degrees, 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def rolling_median(values: Array, width: int) -> Array:
    """Medians of every width neighbours; len(values) - width + 1 of them."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)


def median_error(sigma: float, width: int) -> float:
    """Standard error of the median of width points with noise sigma."""
    return MEDIAN_ERROR * sigma / float(np.sqrt(width))


def spikes(values: Array, side: int, height: float, share: float) -> list[int]:
    """Indices that stand above the medians of both sides by more than height and more than share of the level there."""
    found = []
    for i in range(3, len(values) - 3):
        left, right = values[max(i - side, 0) : i], values[i + 1 : i + 1 + side]
        if values[i] - left.min() <= height:  # most points; medians are dear
            continue
        level = max(float(np.median(left)), float(np.median(right)))
        if values[i] - level > max(height, share * abs(level)):
            found.append(i)
    return found


def steps_to_settle(steps: Array, values: Array, rest: float) -> float | None:
    """How many steps after the last until the curve is within rest (a share) of the limit it seems to go to; None where it goes
    to none yet. The curve is taken as a + b exp(-k step), with k from a grid and a, b by least squares."""
    span = float(steps[-1] - steps[0])
    x = (steps - steps[0]) / span
    best: tuple[float, float, float, float] | None = None
    for k in np.geomspace(0.2, 30.0, 60):
        decay = np.exp(-k * x)
        design = np.stack([np.ones_like(x), decay], axis=1)
        (a, b), *_ = np.linalg.lstsq(design, values, rcond=None)
        error = float(np.sum((design @ np.array([a, b]) - values) ** 2))
        if a > 0 and b > 0 and (best is None or error < best[0]):
            best = (error, float(a), float(b), float(k))
    if best is None or best[3] < 0.3:
        return None
    _, a, b, k = best
    return max(float(np.log(b / (rest * a)) / k - 1.0), 0.0) * span
