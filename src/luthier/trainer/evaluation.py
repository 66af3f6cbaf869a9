"""The mean loss of a model over evaluation sets, during a training and without one.

Enters: a stage, a Scorer, evaluation loaders by name. Leaves: eval_loss (eval_<name>_loss and their mean where there are
several sets), and the stage's own metrics. Never: computes gradients, leaves the scorer in evaluation mode, prints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from luthier.trainer.memory import is_out_of_memory

if TYPE_CHECKING:
    from luthier.batches.loader import EvaluationLoader
    from luthier.models.score import Scorer
    from luthier.runtime.precision import Precision
    from luthier.stages.base import Stage
    from luthier.trainer.parallel import Parallel
    from luthier.types import Batch

Sums = dict[str, list[float]]
"""name -> [sum, count]"""


@torch.no_grad()
def evaluate(
    stage: Stage,
    scorer: Scorer,
    evaluations: Mapping[str, EvaluationLoader],
    *,
    parallel: Parallel,
    precision: Precision,
    max_tokens: int,
    with_accuracy: bool = False,
    on_begin: Callable[[int], None] = lambda batches: None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> dict[str, float]:
    """Losses in nats, metrics as means, eval_runtime in seconds; eval_perplexity for pre-training.

    max_tokens: how many tokens go through the model at once; a batch that does not fit the memory is halved.
    with_accuracy: the stage's own metrics too.
    """
    was_training = scorer.training
    scorer.eval()
    groups = {name: loader.groups(max_tokens) for name, loader in evaluations.items()}
    on_begin(sum(map(len, groups.values())))
    began, done, metrics = time.perf_counter(), 0, {}
    for name, loader in evaluations.items():
        prefix = "eval" if len(evaluations) == 1 else f"eval_{name}"
        sums: Sums = {"loss": [0.0, 0.0]}
        if stage.looks_ahead:
            mine = groups[name][parallel.rank :: parallel.world_size]
            ahead = (loader.batch(group, parallel.device) for group in mine)
            stage.begin_step(looked_ahead(stage, scorer, ahead, precision=precision, parallel=parallel))
        for number, group in enumerate(groups[name]):
            done += 1
            if number % parallel.world_size == parallel.rank:
                _add(sums, stage, scorer, loader, group, parallel.device, precision)
            on_batch(done)
        means = {key: total / max(1.0, count) for key, (total, count) in parallel.sum_named(sums).items()}
        for key, mean in stage.finish_metrics(means).items():
            if key == "loss" or with_accuracy:
                metrics[f"{prefix}_{key}"] = mean
    if len(evaluations) > 1:
        losses = [metrics[f"eval_{name}_loss"] for name in evaluations]
        metrics["eval_loss"] = sum(losses) / len(losses)
    if stage.name == "pt":
        metrics["eval_perplexity"] = perplexity(metrics["eval_loss"])
    metrics["eval_runtime"] = round(time.perf_counter() - began, 3)
    scorer.train(was_training)
    return metrics


@torch.no_grad()
def looked_ahead(
    stage: Stage, scorer: Scorer, batches: Iterable[Batch], *, precision: Precision, parallel: Parallel
) -> dict[str, float]:
    """The means of Stage.look_ahead over all batches of all devices; the same numbers on each."""
    sums: dict[str, tuple[Tensor | float, Tensor | float]] = {}
    for batch in batches:
        with precision.context():
            add_sums(sums, stage.look_ahead(scorer, batch))
    return {name: total / max(1.0, count) for name, (total, count) in parallel.sum_named(sums).items()}


def add_sums(
    sums: dict[str, tuple[Tensor | float, Tensor | float]], more: Mapping[str, tuple[Tensor | float, Tensor | float]]
) -> None:
    """Add each (sum, count) of more to that of the same name in sums."""
    for name, (total, count) in more.items():
        before = sums.get(name, (0.0, 0.0))
        sums[name] = (before[0] + total, before[1] + count)


def perplexity(loss: float) -> float:
    """exp(loss) of a mean loss in nats a token; what no float holds becomes the largest that does."""
    return math.exp(min(loss, 709.0))


def _add(
    sums: Sums,
    stage: Stage,
    scorer: Scorer,
    loader: EvaluationLoader,
    group: np.ndarray,
    device: torch.device,
    precision: Precision,
) -> None:
    try:
        with precision.context():
            output = stage.loss(scorer, loader.batch(group, device))
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or len(group) == 1:
            raise
        for half in np.array_split(group, 2):
            _add(sums, stage, scorer, loader, half, device, precision)
        return
    count = int(loader.store.supervised[group].sum()) if stage.unit == "token" else len(group)
    for key, (total, number) in {"loss": (output.total, count), **output.metrics}.items():
        entry = sums.setdefault(key, [0.0, 0.0])
        entry[0] += float(total)
        entry[1] += float(number)
