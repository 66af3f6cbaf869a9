"""The statistics under the reading, against scipy-free truths: known noise, known slopes, coverage of the intervals."""

import numpy as np
import pytest

from luthier.trainer.curve import noise, rolling_median, spikes, steps_to_settle, t_975, trend


def test_t_975() -> None:
    """Values of any printed table of Student's t."""
    for degrees, value in ((3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)):
        assert t_975(degrees) == pytest.approx(value, rel=0.02)


def test_noise_does_not_see_the_slope_or_a_few_outliers() -> None:
    rng = np.random.default_rng(0)
    values = np.linspace(10, 0, 2000) + rng.normal(0, 0.3, 2000)
    values[::100] += 50
    assert noise(values) == pytest.approx(0.3, rel=0.12)
    assert noise(np.array([1.0, 2.0])) == 0


def test_trend_is_the_line() -> None:
    steps = np.arange(0, 100, 10.0)
    line = trend(steps, 3 - 0.02 * steps)
    assert (line.change, line.end) == pytest.approx((-1.8, 1.2)) and line.half_width == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("correlated", [0.0, 0.6])
def test_the_interval_holds_the_truth_as_often_as_it_says(correlated: float) -> None:
    """95 of 100 intervals hold the true change, also for noise whose neighbours go together."""
    rng, steps = np.random.default_rng(1), np.arange(60.0)
    hits = 0
    for _ in range(400):
        shocks = rng.normal(0, 1, 60)
        for i in range(1, 60):
            shocks[i] += correlated * shocks[i - 1]
        line = trend(steps, 5 - 0.01 * steps + 0.1 * shocks)
        hits += abs(line.change - (-0.59)) <= line.half_width
    assert 0.88 <= hits / 400 <= 0.99


def test_rolling_median_and_spikes() -> None:
    values = np.ones(40)
    values[[10, 25]] = 9.0
    assert rolling_median(values, 5).tolist() == [1.0] * 36
    assert spikes(values, 5, height=1.0, share=0.5) == [10, 25]
    assert spikes(np.linspace(10, 1, 40), 5, height=0.1, share=0.05) == []  # steep is not a spike


def test_steps_to_settle() -> None:
    """2 + exp(-step / 100) ends at step 200; it is within 2 % of its limit 2 when exp(-s / 100) = 0.04, at s = 322."""
    steps = np.arange(0, 201, 10.0)
    assert steps_to_settle(steps, 2 + np.exp(-steps / 100), rest=0.02) == pytest.approx(122, rel=0.15)
    assert steps_to_settle(steps, 10 - 0.01 * steps, rest=0.02) is None  # a straight line goes nowhere
