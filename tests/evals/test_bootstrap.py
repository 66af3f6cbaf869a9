"""The paired bootstrap against what statistics says of the mean of differences."""

import numpy as np
import pytest

from luthier.evals.bootstrap import paired_bootstrap


def test_the_interval_is_that_of_the_normal_distribution_for_many_rows():
    """Mean of n differences: standard error s / sqrt(n), 95 % within 1.96 of those."""
    generator = np.random.default_rng(1)
    old = generator.normal(50, 20, 400)
    new = old + generator.normal(3, 10, 400)
    found = paired_bootstrap(old, new)
    spread = 1.96 * np.std(new - old) / 20
    assert found.mean == pytest.approx(np.mean(new - old))
    assert found.low == pytest.approx(found.mean - spread, abs=0.15) and found.high == pytest.approx(
        found.mean + spread, abs=0.15
    )
    assert found.sure


def test_the_same_is_no_difference_and_chance_is_not_sure():
    assert paired_bootstrap([1.0, 2.0], [1.0, 2.0]).mean == 0 and not paired_bootstrap([1.0, 2.0], [1.0, 2.0]).sure
    assert not paired_bootstrap([0.0, 100.0, 0.0, 100.0], [100.0, 0.0, 0.0, 100.0]).sure


def test_pairing_sees_what_two_separate_means_would_not():
    old = np.linspace(0, 100, 50)
    assert paired_bootstrap(old, old + 1).sure


@pytest.mark.parametrize("draw", ["normal", "exponential", "right_or_wrong"])
def test_the_interval_is_scipys(draw):
    """scipy.stats.bootstrap of the paired differences, percentile method, with many more resamples."""
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    generator = np.random.default_rng(2)
    old = {
        "normal": generator.normal(50, 20, 120),
        "exponential": generator.exponential(30, 120),
        "right_or_wrong": 100.0 * generator.integers(0, 2, 120),
    }[draw]
    new = np.where(generator.random(120) < 0.3, old[::-1], old) + (draw != "right_or_wrong")
    theirs = bootstrap(
        (old, new), lambda a, b, axis: (b - a).mean(axis=axis), paired=True, vectorized=True, n_resamples=20_000,
        method="percentile", rng=3,
    ).confidence_interval  # fmt: skip
    found = paired_bootstrap(old, new, resamples=20_000)
    near = 0.03 * (theirs.high - theirs.low)
    assert found.low == pytest.approx(theirs.low, abs=near) and found.high == pytest.approx(theirs.high, abs=near)
