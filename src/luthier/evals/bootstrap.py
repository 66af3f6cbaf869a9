"""How sure a difference of means is: the paired bootstrap.

Enters: a score of the same rows under two models. Leaves: the mean difference and its confidence interval.
Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"; Efron's percentile interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """mean: of (new - old).  low, high: between them lie 95 % of the means of resampled rows.  sure: 0 is not between them."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    old: Sequence[float], new: Sequence[float], *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Difference:
    """Rows are drawn with replacement, both scores of a row together. old, new: (N,) in the same order."""
    differences = np.asarray(new, np.float64) - np.asarray(old, np.float64)
    count = len(differences)
    generator = np.random.default_rng(seed)
    rows = max(1, 4_000_000 // max(1, count))  # about 32 MB of indices at a time
    means = np.concatenate(
        [
            differences[generator.integers(0, count, (min(rows, resamples - start), count))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Difference(mean=float(differences.mean()), low=float(low), high=float(high))
