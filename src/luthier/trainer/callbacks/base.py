"""The contract of a callback: named hooks at the moments of a training. A callback reads; it never changes the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.runs import Run


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a training stands; the trainer owns it, callbacks read it.

    step, total_steps: optimizer steps.  epoch: passes over the data so far, fractional.
    tokens_seen: real tokens put through the model since step 0.  best_metric/best_step: of metric_for_best_model.
    """

    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    num_epochs: float = 0.0
    tokens_seen: int = 0
    supervised_tokens_seen: int = 0
    best_metric: float | None = None
    best_step: int | None = None


class Callback:
    """Made by make_callbacks(config, run). Every hook does nothing by default. metrics are plain floats."""

    def __init__(self, config: Config, run: Run):
        self.config = config
        self.run = run

    @classmethod
    def wanted(cls, config: Config) -> bool:
        """Whether this configuration asks for the callback."""
        return True

    def on_train_begin(self, progress: Progress) -> None: ...

    def on_step_end(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """After every optimizer step. metrics: loss, learning_rate, grad_norm, tokens_per_second, step_time_s ..."""

    def on_log(self, progress: Progress, row: Mapping[str, Any]) -> None:
        """Every logging_steps and after every evaluation: the row that was written to metrics.jsonl."""

    def on_evaluate_begin(self, progress: Progress, num_batches: int) -> None: ...

    def on_evaluate_step(self, progress: Progress, batch: int) -> None: ...

    def on_evaluate_end(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """metrics: eval_loss and the like."""

    def on_save(self, progress: Progress, checkpoint: Path) -> None: ...

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        """Also after a stop or a failure; summary["state"] says which."""
