"""The mean loss of a model over evaluation sets, or the mean reward of its answers, during a training and without one.

Enters: a stage, a Scorer, evaluation loaders by name. Leaves: eval_loss or eval_reward (eval_<name>_loss and their mean where
there are several sets), and the stage's own metrics. Never: computes gradients, leaves the scorer in evaluation mode, prints.
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
    from luthier.runtime.precision import Precision
    from luthier.trainer.compute import Compute
    from luthier.trainer.parallel import Parallel
    from luthier.types import Batch

Sums = dict[str, list[float]]
"""name -> [sum, count]"""


@torch.no_grad()
def evaluate(
    compute: Compute,
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
    stage, scorer = compute.stage, compute.scorer
    told = with_accuracy or stage.goal == "reward"
    was_training = scorer.training
    scorer.eval()
    groups = {name: loader.groups(max_tokens) for name, loader in evaluations.items()}
    on_begin(sum(map(len, groups.values())))
    began, done, before, metrics = time.perf_counter(), 0, 0, {}
    for name, loader in evaluations.items():
        prefix = "eval" if len(evaluations) == 1 else f"eval_{name}"
        sums: Sums = {stage.goal: [0.0, 0.0]}
        mine = groups[name][parallel.rank :: parallel.world_size]
        if stage.looks_ahead:
            ahead = ((loader.batch(group, parallel.device), counts) for group, counts in parallel.even(mine, groups[name][:1]))
            stage.begin_step(looked_ahead(compute, ahead, precision=precision, parallel=parallel))
        for group, counts in parallel.even(mine, groups[name][:1]):
            _add(sums if counts else {}, compute, loader, group, parallel, precision)
            done += parallel.world_size
            on_batch(min(done, before + len(groups[name])))
        done = before = before + len(groups[name])
        on_batch(done)
        means = {key: total / max(1.0, count) for key, (total, count) in parallel.sum_named(sums).items()}
        for key, mean in stage.finish_metrics(means).items():
            if key == stage.goal or told:
                metrics[f"{prefix}_{key}"] = mean
    if len(evaluations) > 1:
        each = [metrics[f"eval_{name}_{stage.goal}"] for name in evaluations]
        metrics[f"eval_{stage.goal}"] = sum(each) / len(each)
    if stage.name == "pt":
        metrics["eval_perplexity"] = perplexity(metrics["eval_loss"])
    metrics["eval_runtime"] = round(time.perf_counter() - began, 3)
    parallel.settle()
    scorer.train(was_training)
    return metrics


@torch.no_grad()
def looked_ahead(
    compute: Compute, batches: Iterable[tuple[Batch, bool]], *, precision: Precision, parallel: Parallel
) -> dict[str, float]:
    """The means of Stage.look_ahead over all batches of all devices that count; the same numbers on each."""
    sums: dict[str, tuple[Tensor | float, Tensor | float]] = {}
    for batch, counts in batches:
        with precision.context():
            _, more = compute(batch, ahead=True)
        add_sums(sums, more if counts else {})
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
    sums: Sums, compute: Compute, loader: EvaluationLoader, group: np.ndarray, parallel: Parallel, precision: Precision
) -> None:
    try:
        with precision.context():
            found = loader.sums(group, compute, compute.stage.unit, parallel.device)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or len(group) == 1 or parallel.is_sharded:
            raise
        for half in np.array_split(group, 2):
            _add(sums, compute, loader, half, parallel, precision)
        return
    for key, (total, number) in found.items():
        entry = sums.setdefault(key, [0.0, 0.0])
        entry[0] += float(total)
        entry[1] += float(number)
