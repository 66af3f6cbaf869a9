"""What a person sees while a model trains: step, loss, learning rate, tokens a second, time left, and evaluation.

A live bar on a terminal; elsewhere one plain line a log point. log.txt gets the line in both cases.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.runtime.logging import FILE_ONLY
from luthier.runtime.progress import Bar, duration, progress_bars
from luthier.trainer.callbacks.base import Callback, Progress

log = logging.getLogger(__name__)

FORMATS = {
    "loss": "loss {:.4f}",
    "eval_loss": "eval_loss {:.4f}",
    "reward": "reward {:.3g}",
    "moe_aux_loss": "balance {:.3f}",
    "rewards/margins": "margin {:.3g}",
    "rewards/accuracies": "in order {:.0%}",
    "accuracy": "accuracy {:.3f}",
    "learning_rate": "lr {:.2e}",
    "tokens_per_second": "{:,.0f} tokens/s",
}
"""What is shown of a row, in this order. Other eval_ numbers follow under their own names."""


class ProgressBar(Callback):
    """Bars are opened when training begins and closed when it ends, however it ends."""

    def on_train_begin(self, progress: Progress) -> None:
        self.bars = progress_bars(disable=bool(self.config.disable_tqdm))
        self.bars.__enter__()
        self.train_bar = self.bars.add("train", progress.total_steps, progress.step)
        self.eval_bar: Bar | None = None
        self.num_batches = 0

    def on_step_end(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        if self.bars.is_live:
            self.train_bar.update(progress.step, row_text(metrics))

    def on_log(self, progress: Progress, row: Mapping[str, Any]) -> None:
        extra = FILE_ONLY if self.bars.is_live and not any(key.startswith("eval_") for key in row) else None
        rest = row.get("elapsed_s", 0.0) / max(progress.step, 1) * (progress.total_steps - progress.step)
        left = f"  {duration(rest)} left" if rest > 0 else ""
        log.info("step %d/%d  %s%s", progress.step, progress.total_steps, row_text(row), left, extra=extra)

    def on_evaluate_begin(self, progress: Progress, num_batches: int) -> None:
        self.eval_bar = self.bars.add("evaluate", num_batches) if self.bars.is_live else None

    def on_evaluate_step(self, progress: Progress, batch: int) -> None:
        if self.eval_bar is not None:
            self.eval_bar.update(batch)

    def on_evaluate_end(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        if self.eval_bar is not None:
            self.eval_bar.close()
            self.eval_bar = None

    def on_save(self, progress: Progress, checkpoint: Path) -> None:
        log.info("step %d/%d  saved %s", progress.step, progress.total_steps, checkpoint, extra=FILE_ONLY)

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        self.bars.__exit__(None, None, None)


def row_text(row: Mapping[str, Any]) -> str:
    """{"loss": 1.5, "learning_rate": 1e-4} -> "loss 1.5000  lr 1.00e-04"; a loss that is no number shows as nan."""
    parts = [form.format(float("nan") if row[key] is None else row[key]) for key, form in FORMATS.items() if key in row]
    others = [key for key in row if key.startswith("eval_") and key not in FORMATS and isinstance(row[key], int | float)]
    return "  ".join(parts + [f"{key} {row[key]:.4g}" for key in others])
