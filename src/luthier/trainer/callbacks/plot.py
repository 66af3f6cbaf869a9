"""training_loss.png: the loss of every log point, its smoothed course, and the evaluation beside it.

What enters: the rows of metrics.jsonl. What leaves: PNG files in the run folder, redrawn at a save (at most every half minute)
and at the end. matplotlib is imported when the first one is drawn; its global state (pyplot) is never used.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.runtime.files import write_atomic
from luthier.trainer.callbacks.base import Callback, Progress

if TYPE_CHECKING:
    from luthier.config import Config

SPRUCE, PALE_SPRUCE, AMBER, INK, PAPER, RULE = "#1f5f4a", "#a9c6b8", "#c8811a", "#3a3632", "#fbf8f2", "#e4ddd0"
"""Spruce and amber, the wood and the varnish of a violin, on warm white."""

REDRAW_S = 30.0
ALSO_PLOTTED = ("eval_loss", "eval_accuracy", "rewards/accuracies", "reward", "moe_aux_loss")
"""Numbers that get a plot of their own, training_<name>.png, where a run has them."""


class Plot(Callback):
    """Drawn unless plot_loss is set to false."""

    _drawn_at = float("-inf")

    @classmethod
    def wanted(cls, config: Config) -> bool:
        return config.plot_loss or "plot_loss" not in config.model_fields_set

    def on_save(self, progress: Progress, checkpoint: Path) -> None:
        if time.monotonic() - self._drawn_at >= REDRAW_S:
            self._draw()

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        self._draw()

    def _draw(self) -> None:
        rows = self.run.read_metrics()
        if series(rows, "loss"):
            write_atomic(self.run.plot_file("loss"), draw(rows, "loss", beside="eval_loss"), durable=False)
        for key in ALSO_PLOTTED:
            if len(series(rows, key)) > 1:
                write_atomic(self.run.plot_file(key), draw(rows, key, beside=f"eval_{key}"), durable=False)
        self._drawn_at = time.monotonic()


def series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """(step, value) of every row that has a number under key."""
    return [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]


def smooth(values: Sequence[float]) -> list[float]:
    """Exponential moving average over about a tenth of the points, without its usual pull towards the first value.

    Weight w of the past, bias removed by 1 - w^n (Kingma & Ba 2015, section 3). Fewer than 10 points are left as they are.
    """
    if len(values) < 10:
        return list(values)
    weight = 1 - 2 / (max(len(values) / 10, 3) + 1)
    average, out = 0.0, []
    for count, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        out.append(average / (1 - weight**count))
    return out


def draw(rows: Sequence[Mapping[str, Any]], key: str, beside: str | None = None) -> bytes:
    """A PNG of one number over the steps. beside: a second number, as a marked line (evaluation)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), dpi=130, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    steps, values = zip(*series(rows, key), strict=True)
    is_eval = key.startswith("eval_")
    if is_eval:
        axes.plot(steps, values, color=AMBER, marker="o", markersize=4, linewidth=1.6, label=key)
    else:
        marker = "o" if len(values) < 10 else None
        axes.plot(steps, values, color=PALE_SPRUCE, linewidth=1.0, marker=marker, markersize=3, label=f"{key}, each log point")
        axes.plot(steps, smooth(values), color=SPRUCE, linewidth=2.0, label=f"{key}, smoothed")
    other = series(rows, beside) if beside else []
    if other:
        axes.plot(*zip(*other, strict=True), color=AMBER, marker="o", markersize=4, linewidth=1.6, label=beside)
    if key == "eval_loss" or other:
        best_of = min if key.endswith("loss") else max
        step, best = best_of(other or list(zip(steps, values, strict=True)), key=lambda point: point[1])
        axes.annotate(
            f"best {best:.4g} at step {step}",
            (step, best),
            (0, -15),
            textcoords="offset points",
            ha="right" if step > 0.85 * steps[-1] else "center",
            color=AMBER,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.8},
        )
    axes.set_xlabel("optimizer step", color=INK)
    axes.set_ylabel(key, color=INK)
    axes.grid(color=RULE, linewidth=0.8)
    axes.tick_params(colors=INK)
    axes.margins(x=0.02, y=0.12)
    for side in axes.spines.values():
        side.set_color(RULE)
    axes.legend(frameon=False, labelcolor=INK)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
