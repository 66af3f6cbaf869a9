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
