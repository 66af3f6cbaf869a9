"""What a training is after: the metric of its best model, which value of it is better, how long it may fail to improve."""

from __future__ import annotations

from collections.abc import Mapping

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.trainer.callbacks.base import Progress


class Goal:
    """Keeps best_metric and best_step of progress. waited: evaluations since the best one; saved with checkpoints."""

    def __init__(self, config: Config, usual: str):
        """usual: what evaluations are about where metric_for_best_model is unset (Stage.goal)."""
        name = config.metric_for_best_model or usual
        self.metric = name if name.startswith("eval_") else f"eval_{name}"
        greater = config.greater_is_better
        self.sign = 1 if (greater if greater is not None else not self.metric.endswith(("loss", "perplexity"))) else -1
        self.patience = config.early_stopping_steps
        self.waited = 0

    def read(self, metrics: Mapping[str, float]) -> float:
        """The metric, of those of an evaluation."""
        if self.metric not in metrics:
            raise ConfigError(
                f"metric_for_best_model: an evaluation gives no {self.metric}.",
                f"It gives: {', '.join(name for name in metrics if name != 'eval_runtime')}.",
            )
        return metrics[self.metric]

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
