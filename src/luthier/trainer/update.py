"""One update of the weights: gradients over micro-batches and devices, the norm, the optimizer's step.

What enters: a Step of the loader. What leaves: its mean loss, the gradient's norm, summed metrics, and weights that have moved.
It knows no schedule, no log, no checkpoint but by name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from luthier.config import Config
from luthier.errors import ConfigError, TrainingError
from luthier.trainer.checkpoint import random_states, restore_random
from luthier.trainer.evaluation import add_sums, looked_ahead
from luthier.trainer.layerwise import AsTheyCome, moves_early
from luthier.trainer.memory import empty_cache, is_out_of_memory

if TYPE_CHECKING:
    from luthier.batches.loader import Loader, Step
    from luthier.runtime.precision import Precision
    from luthier.trainer.compute import Compute
    from luthier.trainer.parallel import Parallel
    from luthier.types import Batch

logger = logging.getLogger(__name__)

Sums = dict[str, tuple[torch.Tensor | float, torch.Tensor | float]]
"""name -> (sum, count)"""


class Updater:
    """micro_batch_tokens: how many tokens go through the model at once; halved where they do not fit the memory.
    last_good: says which checkpoint can be gone back to. Raises ConfigError for layerwise updates on several devices."""

    def __init__(
        self,
        config: Config,
        *,
        compute: Compute,
        optimizer: torch.optim.Optimizer,
        loader: Loader,
        parallel: Parallel,
        precision: Precision,
        micro_batch_tokens: int,
        last_good: Callable[[], str],
    ):
        self.config, self.compute, self.stage = config, compute, compute.stage
        self.optimizer, self.loader = optimizer, loader
        self.parallel, self.precision = parallel, precision
        self.micro_batch_tokens = micro_batch_tokens
        self._last_good = last_good
        self.scaler = torch.amp.GradScaler(parallel.device.type, enabled=precision.grad_scaler)
        self._learning = [p for group in optimizer.param_groups for p in group["params"]]
        self._early = moved_early(config, optimizer, parallel) if moves_early(config) else None

    def update(self, step: Step) -> tuple[float, float, Sums]:
        """Moves the weights; returns the mean loss, the norm of the gradient before clipping, and metrics.

        Raises TrainingError where loss or gradient is no number, and where one sample does not fit the memory.
        """
        loss, metrics = self._gradients(step)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step.number + 1}: the training stopped. {self._last_good()}",
                f"Lower learning_rate (now {self.config.learning_rate:g}), add warmup_ratio, or use bf16 instead of fp16.",
            )
        self.scaler.unscale_(self.optimizer)
        limit = self.config.max_grad_norm if self.config.max_grad_norm else math.inf
        norm = self._early.take_norm() if self._early else self.parallel.clip(self._learning, limit)
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise TrainingError(
                f"the gradient is {norm} at step {step.number + 1}: the training stopped. {self._last_good()}",
                f"Lower learning_rate (now {self.config.learning_rate:g}) or check the data of this step.",
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.config.torch_empty_cache_steps and (step.number + 1) % self.config.torch_empty_cache_steps == 0:
            empty_cache(self.parallel.device)
        return loss, norm, metrics

    def _gradients(self, step: Step) -> tuple[float, Sums]:
        """Gradients of the step's mean loss, summed over ranks; out of memory: again with half the tokens at once."""
        random_state = random_states(self.parallel.device)
        while True:
            try:
                return self._accumulate(step, random_state)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.parallel.world_size > 1:
                    raise
                if self._early and self._early.has_moved:
                    raise TrainingError(
                        f"out of memory at step {step.number + 1}, after some of its weights had moved. {self._last_good()}",
                        f"Lower micro_batch_tokens (now {self.micro_batch_tokens}) or cutoff_len, and resume.",
                    ) from error
                longest = int(self.loader.store.lengths[step.samples].max())
                if self.micro_batch_tokens <= longest:
                    raise TrainingError(
                        f"out of memory at step {step.number + 1}: one sample of {longest} tokens does not fit.",
                        f"Lower cutoff_len (now {self.config.cutoff_len}) to {longest // 2}, set gradient_checkpointing: on, "
                        "or train a quantised base or a smaller model.",
                    ) from error
                self.micro_batch_tokens = max(longest, self.micro_batch_tokens // 2)
            logger.warning(
                "out of memory: the step is done again with %d tokens at once; nothing is lost", self.micro_batch_tokens
            )
            self.optimizer.zero_grad(set_to_none=True)
            restore_random(random_state, self.parallel.device)
            empty_cache(self.parallel.device)

    def _accumulate(self, step: Step, random_state: dict[str, torch.Tensor]) -> tuple[float, Sums]:
        parallel = self.parallel
        units = max(1, step.supervised if self.stage.unit == "token" else len(step.samples))
        totals: list[torch.Tensor] = []
        sums: Sums = {}
        if self.stage.looks_ahead:
            ahead = parallel.even(self._batches(step), self._spare(step))
            self.stage.begin_step(looked_ahead(self.compute, ahead, precision=self.precision, parallel=parallel))
            restore_random(random_state, parallel.device)  # dropout and noise are those that were seen
        for (batch, counts), is_last in _with_last(parallel.even(self._batches(step), self._spare(step))):
            with self.precision.context():
                total, metrics = self.compute(batch)
            if self._early and not torch.isfinite(total):  # no weight moves by it: the caller stops
                return float(total.detach()), {}
            with self._early.armed(is_last) if self._early else nullcontext():
                self.scaler.scale(total / units * float(counts)).backward()
            if counts:
                totals.append(total.detach())
                add_sums(sums, metrics)
        parallel.sum_gradients(self._learning)
        loss = float(torch.stack(totals).sum()) / units if totals else 0.0
        return parallel.sum_numbers([loss])[0], parallel.sum_named(sums)

    def _batches(self, step: Step) -> Iterator[Batch]:
        parallel = self.parallel
        return self.loader.batches(
            step, max_tokens=self.micro_batch_tokens, device=parallel.device, rank=parallel.rank, world_size=parallel.world_size
        )

    def _spare(self, step: Step) -> Iterator[Batch]:
        """A batch of the step for a rank that has no share in it."""
        return self.loader.batches(step, max_tokens=1, device=self.parallel.device)


def moved_early(config: Config, optimizer: torch.optim.Optimizer, parallel: Parallel) -> AsTheyCome:
    """Raises ConfigError on several devices, whose gradients must be summed first."""
    if parallel.world_size > 1:
        raise ConfigError(
            "layerwise updates use a gradient before the other devices' can be added to it.",
            "Train on one device, or take the layerwise key (or optim: lomo) out.",
        )
    if config.max_grad_norm:
        logger.warning(
            "max_grad_norm (%g) is not applied: weights move before the norm of all gradients is known.", config.max_grad_norm
        )
    return AsTheyCome(optimizer)


def _with_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each with whether it is the last one."""
    batches = iter(batches)
    held = next(batches, None)
    while held is not None:
        following = next(batches, None)
        yield held, following is None
        held = following
