"""What a training is after: the metric of its best model, which value of it is better, how long it may fail to improve."""

from __future__ import annotations

from luthier.config import Config
from luthier.trainer.callbacks.base import Progress


class Goal:
    """Keeps best_metric and best_step of progress. waited: evaluations since the best one; saved with checkpoints."""

    def __init__(self, config: Config):
        name = config.metric_for_best_model or "loss"
        self.metric = name if name.startswith("eval_") else f"eval_{name}"
        greater = config.greater_is_better
        self.sign = 1 if (greater if greater is not None else not self.metric.endswith(("loss", "perplexity"))) else -1
        self.patience = config.early_stopping_steps
        self.waited = 0

    def judge(self, value: float, progress: Progress) -> None:
        """value: the metric at progress.step."""
        better = progress.best_metric is None or (value - progress.best_metric) * self.sign > 0
        if better:
            progress.best_metric, progress.best_step = value, progress.step
        self.waited = 0 if better else self.waited + 1

    @property
    def given_up(self) -> str | None:
        """Why to stop early, in words; None to go on."""
        if self.patience is None or self.waited < self.patience:
            return None
        return f"{self.metric} has not improved in {self.patience} evaluations"
