"""Learning-rate schedules by the names of transformers' lr_scheduler_type."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from luthier.config import Config
from luthier.errors import ConfigError


def warmup_steps(config: Config, total_steps: int) -> int:
    """warmup_steps where given (a value below 1 is a share of the training), else warmup_ratio of the training, rounded up."""
    if config.warmup_steps and config.warmup_steps >= 1:
        return int(config.warmup_steps)
    share = config.warmup_steps or config.warmup_ratio or 0.0
    return math.ceil(total_steps * share)


class Plateau(ReduceLROnPlateau):
    """Lowers the learning rate where evaluations no longer improve. step() is silent: what counts is `evaluated`."""

    def step(self, metrics: float | None = None, epoch: int | None = None) -> None:
        if metrics is not None:
            super().step(metrics)

    def evaluated(self, value: float) -> None:
        """value: the metric of the best model, turned so that lower is better."""
        self.step(value)


def make_schedule(optimizer: Optimizer, config: Config, total_steps: int) -> LRScheduler:
    """total_steps: optimizer steps of the whole training. Raises ConfigError for a schedule that cannot be made."""
    from transformers import get_scheduler

    options = dict(config.lr_scheduler_kwargs or {})
    warmup = warmup_steps(config, total_steps)
    name = config.lr_scheduler_type
    if name == "warmup_stable_decay" and "num_decay_steps" not in options:
        options["num_decay_steps"] = max(1, (total_steps - warmup) // 3)
    if name == "reduce_lr_on_plateau":
        return Plateau(optimizer, **options)
    try:
        return get_scheduler(
            name, optimizer, num_warmup_steps=warmup, num_training_steps=total_steps, scheduler_specific_kwargs=options
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"lr_scheduler_type {name}: {error}", "See `luthier config explain lr_scheduler_type`.") from error
