"""When a training logs, evaluates, saves and ends."""

from __future__ import annotations

import math

from luthier.config import Config
from luthier.trainer.callbacks.base import Progress


class Calendar:
    """steps_per_epoch: optimizer steps. total_steps: max_steps where given, else num_train_epochs (fractions count) of them."""

    def __init__(self, config: Config, steps_per_epoch: int):
        self.config, self.steps_per_epoch = config, steps_per_epoch
        given = config.max_steps and config.max_steps > 0
        self.total_steps = config.max_steps if given else max(1, math.ceil(config.num_train_epochs * steps_per_epoch))
        self._every = {
            "logging": self._steps(config.logging_steps),
            "eval": self._steps(config.eval_steps or config.logging_steps),
            "save": self._steps(config.save_steps),
        }

    def due(self, what: str, progress: Progress) -> bool:
        """what: logging, eval or save. Whether it is its turn after progress.step."""
        strategy = getattr(self.config, f"{what}_strategy")
        if what == "logging" and self.config.logging_first_step and progress.step == 1:
            return True
        if what == "eval" and (progress.epoch if strategy == "epoch" else progress.step) < self.config.eval_delay:
            return False
        if strategy == "epoch":
            return progress.step % self.steps_per_epoch == 0 or progress.step == self.total_steps
        if strategy == "best":
            return progress.best_step == progress.step
        return strategy == "steps" and progress.step % self._every[what] == 0

    def must_save(self, progress: Progress, stopped: bool) -> bool:
        """Before a stop, when due, and whenever the step is the best so far and is to be loaded at the end."""
        best = self.config.load_best_model_at_end and progress.best_step == progress.step
        return self.config.save_strategy != "no" and (stopped or best or self.due("save", progress))

    def _steps(self, steps: float) -> int:
        """A value below 1 is a share of the training."""
        return max(1, math.ceil(self.total_steps * steps)) if 0 < steps < 1 else max(1, int(steps))
