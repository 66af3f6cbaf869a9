"""The plots: the colours of each line are looked for in the picture itself."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from luthier.trainer.callbacks.plot import AMBER, PALE_SPRUCE, SPRUCE, Plot, draw, smooth


def count(png: bytes, colour: str) -> int:
    pixels = (imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=-1) <= 2).sum())


def test_loss_with_evaluation_beside_it(curve) -> None:
    png = draw(curve, "loss", beside="eval_loss")
    assert imread(io.BytesIO(png)).shape[:2] == (598, 1040)
    assert min(count(png, SPRUCE), count(png, PALE_SPRUCE), count(png, AMBER)) > 300
    assert count(draw([row for row in curve if "loss" in row], "loss", beside="eval_loss"), AMBER) == 0


def test_files_at_the_end_and_seldom_in_between(config, run, progress, curve) -> None:
    plot = Plot(config, run)
    plot.on_save(progress, run.checkpoint(1))
    first = run.loss_plot.stat().st_mtime_ns
    plot.on_save(progress, run.checkpoint(2))
    assert run.loss_plot.stat().st_mtime_ns == first
    plot.on_train_end(progress, {})
    assert run.loss_plot.stat().st_mtime_ns > first and run.eval_plot.is_file()
    assert not run.plot_file("rewards/accuracies").exists()


@pytest.mark.parametrize("rows", [[], [{"step": 1, "loss": 1.0}], [{"step": 1, "loss": None}], [{"step": 1, "eval_loss": 1.0}]])
def test_odd_runs(config, run, progress, rows) -> None:
    for row in rows:
        run.append_metrics(row)
    Plot(config, run).on_train_end(progress, {})
    assert run.loss_plot.is_file() == any(row.get("loss") for row in rows)


def test_smooth() -> None:
    """Of a constant: the constant, from the first point on (no pull towards 0). Of noise: much less noise."""
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)
    noise = np.random.default_rng(0).normal(size=400).tolist()
    assert np.std(smooth(noise)[40:]) < 0.3
    assert smooth([3.0, 1.0]) == [3.0, 1.0]
    with_w = 1 - 2 / (3 + 1)  # ten points: window 3
    by_hand = [(1 - with_w) * 1.0 / (1 - with_w), ((1 - with_w) * 2.0 + with_w * (1 - with_w) * 1.0) / (1 - with_w**2)]
    assert smooth([1.0, 2.0] + [0.0] * 8)[:2] == pytest.approx(by_hand)
