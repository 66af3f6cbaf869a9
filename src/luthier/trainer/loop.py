"""The training loop: steps until done, evaluating, logging and saving on the way; resumed bit for bit from any checkpoint.

What enters: a stage, a model with its adapter attached, a Loader, evaluation stores, a Run. What leaves: the trained model in
place, metrics in the run, a summary. It never prints (callbacks do), and nothing in it knows one stage from another.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from luthier.config import Config
from luthier.errors import CheckpointError, ConfigError, TrainingError
from luthier.runs import Run
from luthier.trainer import checkpoint as checkpoints
from luthier.trainer.callbacks.base import Callback, Progress
from luthier.trainer.compute import Compute
from luthier.trainer.evaluation import add_sums, evaluate, looked_ahead
from luthier.trainer.layerwise import AsTheyCome, moves_early
from luthier.trainer.memory import is_out_of_memory, peak_memory_bytes
from luthier.trainer.optimizers import make_optimizer
from luthier.trainer.parallel import Parallel
from luthier.trainer.schedules import Plateau, make_schedule

if TYPE_CHECKING:
    from luthier.adapters.base import Adapter
    from luthier.batches.loader import EvaluationLoader, Loader, Step
    from luthier.config.sharding import Sharding
    from luthier.models.score import Scorer
    from luthier.runtime.precision import Precision
    from luthier.stages.base import Stage
    from luthier.types import Batch

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Window:
    """What has happened since the last log row; saved with checkpoints, so a resumed run writes the same rows."""

    loss: float = 0.0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    metrics: dict[str, list[float]] = field(default_factory=dict)


class Trainer:
    """micro_batch_tokens: how many tokens go through the model at once.  save_model(folder): writes model, tokenizer, template.
    identity: what must be equal for a checkpoint to be resumed (data, model, the keys that change numbers), as plain JSON.
    sharding: the model is cut into one part for each device.  stop_asked: polled after every step."""

    def __init__(
        self,
        config: Config,
        *,
        stage: Stage,
        model: nn.Module,
        adapter: Adapter,
        scorer: Scorer,
        loader: Loader,
        evaluations: Mapping[str, EvaluationLoader],
        run: Run,
        callbacks: Sequence[Callback],
        parallel: Parallel,
        precision: Precision,
        micro_batch_tokens: int,
        save_model: Callable[[Path], None],
        identity: Mapping[str, Any],
        sharding: Sharding | None = None,
        resume_from: Path | None = None,
        stop_asked: Callable[[], bool] = lambda: False,
    ):
        self.config = config
        self.stage, self.model, self.adapter, self.scorer = stage, model, adapter, scorer
        self.compute = Compute(stage, scorer)
        if sharding:
            parallel.shard(self.compute, sharding)
        self.loader, self.evaluations = loader, evaluations
        self.run, self.callbacks = run, callbacks if parallel.is_main else ()
        self.parallel, self.precision = parallel, precision
        self.micro_batch_tokens = micro_batch_tokens
        self._save_model, self._identity, self._stop_asked = save_model, dict(identity), stop_asked
        self.progress = Progress(total_steps=total_steps(config, loader))
        self.progress.num_epochs = self.progress.total_steps / loader.steps_per_epoch
        self.optimizer = make_optimizer(model, config, self.progress.total_steps)
        self._early = self._moved_early() if moves_early(config) else None
        self.schedule = make_schedule(self.optimizer, config, self.progress.total_steps)
        self._learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._scaler = torch.amp.GradScaler(parallel.device.type, enabled=precision.grad_scaler)
        self._resume_from = resume_from
        self._window = Window()
        self._evaluations_without_gain = 0
        self._elapsed_s = 0.0
        self._every = {
            name: _every(getattr(config, f"{name}_steps"), self.progress.total_steps) for name in ("logging", "save")
        }
        self._every["eval"] = _every(config.eval_steps or config.logging_steps, self.progress.total_steps)

    # ---- the loop -----------------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Train to the end, a stop, or early stopping; returns the summary of train_results.json.

        Raises TrainingError where the loss is no number any more or one sample does not fit the memory.
        """
        progress = self.progress
        self._began = time.perf_counter()
        if self._resume_from is not None:
            self._restore(self._resume_from)
        self._call("on_train_begin")
        first_step, began = progress.step, time.perf_counter()
        tokens_before = progress.tokens_seen
        state, reason = "finished", None
        self.scorer.train()
        if self.config.eval_on_start and progress.step == 0:
            self._evaluate_and_log()
        try:
            while progress.step < progress.total_steps and state == "finished":
                self._step(progress.step)
                epoch_ends = progress.step % self.loader.steps_per_epoch == 0 or progress.step == progress.total_steps
                if self._due("logging", epoch_ends) or (self.config.logging_first_step and progress.step == 1):
                    self._log(self._window_row())
                if self.evaluations and self._due("eval", epoch_ends):
                    self._evaluate_and_log()
                    if self._out_of_patience():
                        state, reason = (
                            "stopped early",
                            f"{self._metric} has not improved in {self.config.early_stopping_steps} evaluations",
                        )
                if self._wants_stop():
                    state, reason = "stopped", "asked to stop"
                if self._due("save", epoch_ends) or self._must_save(state):
                    self._save()
            if self._window.steps:
                self._log(self._window_row())
            if self.config.save_strategy != "no" and not self.run.checkpoint(progress.step).exists():
                self._save()
            if getattr(self.optimizer, "learning", False):
                self.optimizer.eval()
            if self.config.load_best_model_at_end and progress.best_step is not None and state != "stopped":
                self._load_best()
        except Exception as error:
            self._call("on_train_end", {"state": "failed", "reason": str(error)})
            raise
        seconds = time.perf_counter() - began
        summary = {
            "state": state,
            "reason": reason,
            "step": progress.step,
            "epoch": progress.epoch,
            "train_loss": self._mean_loss(),
            "train_runtime": round(self._elapsed_s + seconds, 3),
            "train_steps_per_second": round((progress.step - first_step) / max(seconds, 1e-9), 3),
            "train_tokens_per_second": round((progress.tokens_seen - tokens_before) / max(seconds, 1e-9), 1),
            "num_input_tokens_seen": progress.tokens_seen,
            "peak_memory_bytes": peak_memory_bytes(self.parallel.device),
        }
        if progress.best_step is not None:
            summary |= {"best_step": progress.best_step, f"best_{self._metric}": progress.best_metric}
        self._call("on_train_end", summary)
        return summary

    def _step(self, number: int) -> None:
        """One optimizer step on all ranks, the one after `number` finished ones."""
        began = time.perf_counter()
        step = self.loader.step(number)
        updates = [self._update(part) for part in step.parts or (step,)]
        loss, norm = (sum(update[i] for update in updates) / len(updates) for i in (0, 1))
        metrics: dict[str, tuple[torch.Tensor | float, torch.Tensor | float]] = dict(step.metrics)
        for _, _, more in updates:
            add_sums(metrics, more)
        rate = self.schedule.get_last_lr()[0]
        self.schedule.step()
        progress = self.progress
        progress.step = step.number + 1
        progress.epoch = step.epoch
        progress.tokens_seen += step.tokens
        progress.supervised_tokens_seen += step.supervised
        seconds = time.perf_counter() - began
        window = self._window
        window.loss += loss
        window.steps += 1
        window.tokens += step.tokens
        window.seconds += seconds
        for name, (total, count) in metrics.items():
            entry = window.metrics.setdefault(name, [0.0, 0.0])
            entry[0] += total
            entry[1] += count
        self._last = {"grad_norm": norm, "learning_rate": rate}
        shown = {"loss": loss, **self._last, "tokens_per_second": step.tokens / seconds, "step_time_s": seconds}
        self._call("on_step_end", shown)

    def _update(self, step: Step) -> tuple[float, float, dict[str, tuple[float, float]]]:
        """One move of the weights; returns the mean loss, the norm of the gradient before clipping, and metrics."""
        loss, metrics = self._gradients(step)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step.number + 1}: the training stopped. {self._last_good()}",
                f"Lower learning_rate (now {self.config.learning_rate:g}), add warmup_ratio, or use bf16 instead of fp16.",
            )
        self._scaler.unscale_(self.optimizer)
        limit = self.config.max_grad_norm if self.config.max_grad_norm else math.inf
        norm = self._early.take_norm() if self._early else self.parallel.clip(self._learning, limit)
        if not math.isfinite(norm) and not self._scaler.is_enabled():
            raise TrainingError(
                f"the gradient is {norm} at step {step.number + 1}: the training stopped. {self._last_good()}",
                f"Lower learning_rate (now {self.config.learning_rate:g}) or check the data of this step.",
            )
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return loss, norm, metrics

    def _gradients(self, step: Step) -> tuple[float, dict[str, tuple[float, float]]]:
        """Gradients of the step's mean loss, summed over ranks; out of memory: again with half the tokens at once."""
        random_state = checkpoints.random_states(self.parallel.device)
        while True:
            try:
                return self._accumulate(step)
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
            checkpoints.restore_random(random_state, self.parallel.device)
            if self.parallel.device.type == "cuda":
                torch.cuda.empty_cache()

    def _accumulate(self, step: Step) -> tuple[float, dict[str, tuple[float, float]]]:
        parallel = self.parallel
        units = max(1, step.supervised if self.stage.unit == "token" else len(step.samples))
        totals: list[torch.Tensor] = []
        sums: dict[str, tuple[torch.Tensor | float, torch.Tensor | float]] = {}
        if self.stage.looks_ahead:
            ahead = parallel.even(self._batches(step), self._spare(step))
            self.stage.begin_step(looked_ahead(self.compute, ahead, precision=self.precision, parallel=parallel))
        for (batch, counts), is_last in _with_last(parallel.even(self._batches(step), self._spare(step))):
            with self.precision.context():
                total, metrics = self.compute(batch)
            if self._early and not torch.isfinite(total):  # no weight moves by it: the caller stops
                return float(total.detach()), {}
            with self._early.armed(is_last) if self._early else nullcontext():
                self._scaler.scale(total / units * (parallel.gradient_factor if counts else 0.0)).backward()
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

    def _moved_early(self) -> AsTheyCome:
        """Raises ConfigError on several devices, whose gradients must be summed first."""
        if self.parallel.world_size > 1:
            raise ConfigError(
                "layerwise updates use a gradient before the other devices' can be added to it.",
                "Train on one device, or take the layerwise key (or optim: lomo) out.",
            )
        if self.config.max_grad_norm:
            logger.warning(
                "max_grad_norm (%g) is not applied: weights move before the norm of all gradients is known.",
                self.config.max_grad_norm,
            )
        return AsTheyCome(self.optimizer)

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Within it the weights are those to evaluate and save: schedule-free optimizers learn elsewhere."""
        elsewhere = getattr(self.optimizer, "learning", False)
        if elsewhere:
            self.optimizer.eval()
        yield
        if elsewhere:
            self.optimizer.train()

    def _spare(self, step: Step) -> Iterator[Batch]:
        """A batch of the step for a rank that has no share in it."""
        return self.loader.batches(step, max_tokens=1, device=self.parallel.device)

    # ---- evaluating ---------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Mean loss over each evaluation set: eval_loss, or eval_<name>_loss and their mean where there are several."""
        with self._settled():
            metrics = evaluate(
                self.compute,
                self.evaluations,
                parallel=self.parallel,
                precision=self.precision,
                max_tokens=self.micro_batch_tokens * 2,  # no gradients are kept
                with_accuracy=self._all_metrics,
                on_begin=lambda batches: self._call("on_evaluate_begin", batches),
                on_batch=lambda done: self._call("on_evaluate_step", done),
            )
        self._call("on_evaluate_end", metrics)
        self.scorer.train()
        return metrics

    def _evaluate_and_log(self) -> None:
        metrics = self.evaluate()
        value = metrics.get(self._metric)
        if value is not None:
            better = self.progress.best_metric is None or (value - self.progress.best_metric) * self._sign > 0
            if better:
                self.progress.best_metric, self.progress.best_step = value, self.progress.step
            self._evaluations_without_gain = 0 if better else self._evaluations_without_gain + 1
            if isinstance(self.schedule, Plateau):
                self.schedule.evaluated(-self._sign * value)
        self._log(
            {key: value for key, value in metrics.items() if key != "eval_runtime"} | {"eval_runtime": metrics["eval_runtime"]}
        )

    @property
    def _metric(self) -> str:
        name = self.config.metric_for_best_model or "loss"
        return name if name.startswith("eval_") else f"eval_{name}"

    @property
    def _all_metrics(self) -> bool:
        """The accuracy of single tokens is told to those who ask; stages that judge whole samples tell theirs."""
        return self.config.compute_accuracy or self.stage.unit == "sample"

    @property
    def _sign(self) -> int:
        greater = self.config.greater_is_better
        return 1 if (greater if greater is not None else not self._metric.endswith(("loss", "perplexity"))) else -1

    def _out_of_patience(self) -> bool:
        patience = self.config.early_stopping_steps
        return patience is not None and self._evaluations_without_gain >= patience

    # ---- logging ------------------------------------------------------------------------------------------------------

    def _window_row(self) -> dict[str, Any]:
        window, self._window = self._window, Window()
        row = {"loss": window.loss / window.steps, **self._last}
        means = {name: total / count for name, (total, count) in window.metrics.items() if count}
        row |= {
            name: mean for name, mean in self.stage.finish_metrics(means).items() if name != "accuracy" or self._all_metrics
        }
        return row | {"tokens_per_second": round(window.tokens / max(window.seconds, 1e-9), 1)}

    def _log(self, row: dict[str, Any]) -> None:
        progress = self.progress
        row = {
            "step": progress.step,
            "total_steps": progress.total_steps,
            "epoch": round(progress.epoch, 6),
            **row,
            "tokens_seen": progress.tokens_seen,
            "supervised_tokens_seen": progress.supervised_tokens_seen,
            "elapsed_s": round(self._elapsed(), 3),
        }
        if self.config.include_num_input_tokens_seen:
            row["num_input_tokens_seen"] = progress.tokens_seen
        if self.parallel.is_main:
            self.run.append_metrics(row)
        self._call("on_log", row)

    def _elapsed(self) -> float:
        return self._elapsed_s + (time.perf_counter() - self._began)

    def _mean_loss(self) -> float | None:
        rows = [row["loss"] for row in self.run.read_metrics() if "loss" in row] if self.parallel.is_main else []
        return sum(rows) / len(rows) if rows else None

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self.progress, *args)

    def _due(self, what: str, epoch_ends: bool) -> bool:
        strategy = getattr(self.config, f"{what}_strategy")
        if strategy == "epoch":
            return epoch_ends
        if what == "save" and strategy == "best":
            return self.progress.best_step == self.progress.step
        return strategy == "steps" and self.progress.step % self._every[what] == 0

    def _must_save(self, state: str) -> bool:
        """Before a stop, and whenever the step is the best so far and is to be loaded at the end."""
        if self.config.save_strategy == "no":
            return False
        return state == "stopped" or (self.config.load_best_model_at_end and self.progress.best_step == self.progress.step)

    def _wants_stop(self) -> bool:
        return self.parallel.any(self._stop_asked() or (self.parallel.is_main and self.run.stop_requested()))

    # ---- saving and resuming ------------------------------------------------------------------------------------------

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """Inside, rank 0's model can be saved as if it lay in one piece. Entered by every rank."""
        with self.parallel.whole(self.model, everything=self._saves_everything):
            yield

    def _save(self) -> None:
        with self._settled():
            self._write()

    def _write(self) -> None:
        folder, parallel = self.run.checkpoint(self.progress.step), self.parallel
        parallel.settle()
        tensors = None
        if not self.config.save_only_model:
            names = checkpoints.parameter_names(self.model)
            tensors = checkpoints.optimizer_tensors(self.optimizer, names) | checkpoints.random_states(parallel.device)
        with self.whole_model():
            if not parallel.is_main:
                checkpoints.write_mine(folder, parallel.rank, tensors, parallel.barrier)
            else:
                checkpoints.write(folder, self._save_model, tensors and self._state(), tensors or {}, parallel.barrier)
        if parallel.is_main:
            self._call("on_save", folder)
            self._forget_old()
        parallel.barrier()

    def _state(self) -> dict[str, Any]:
        """What the next step depends on besides tensors."""
        return {
            "identity": self._identity,
            "progress": asdict(self.progress),
            "schedule": self.schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "stage": self.stage.state(),
            "window": asdict(self._window),
            "evaluations_without_gain": self._evaluations_without_gain,
            "elapsed_s": self._elapsed(),
        }

    def _load_weights(self, folder: Path) -> None:
        with self.parallel.filled(self.model, everything=self._saves_everything):
            self.adapter.load(self.model, folder)

    @property
    def _saves_everything(self) -> bool:
        """Whether the frozen weights are saved with those that learn: lora and oft write the adapter alone."""
        return self.config.finetuning_type in ("full", "freeze")

    def _forget_old(self) -> None:
        limit = self.config.save_total_limit
        if not limit:
            return
        best = self.run.checkpoint(self.progress.best_step) if self.progress.best_step is not None else None
        keep_best = best if self.config.load_best_model_at_end else None
        others = [folder for folder in self.run.checkpoints() if folder != keep_best]
        room = max(1, limit - (keep_best is not None and keep_best.exists() and limit > 1))
        for folder in others[room:]:
            shutil.rmtree(folder)

    def _restore(self, folder: Path) -> None:
        state, tensors = checkpoints.read(folder)
        self._load_weights(folder)
        checkpoints.restore_optimizer(self.optimizer, checkpoints.parameter_names(self.model), tensors)
        self.schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr()):
            group["lr"] = rate
        self._scaler.load_state_dict(state["scaler"])
        self.stage.restore(state.get("stage", {}))
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self._window = Window(**state["window"])
        self._evaluations_without_gain = state["evaluations_without_gain"]
        self._elapsed_s = state["elapsed_s"]
        self._last = {}
        checkpoints.restore_random(tensors.random(self.parallel.rank, self.parallel.world_size), self.parallel.device)
        if self.parallel.is_main:
            self.run.truncate_metrics(self.progress.step)
        logger.info("resumed from %s", folder)

    def _load_best(self) -> None:
        best = self.run.checkpoint(self.progress.best_step)
        if not best.exists():
            raise CheckpointError(
                f"the best checkpoint {best} is gone.", "Save as often as you evaluate: save_steps = eval_steps."
            )
        self._load_weights(best)

    def _last_good(self) -> str:
        kept = next((folder for folder in self.run.checkpoints() if checkpoints.fault(folder) is None), None)
        return f"The last good checkpoint is {kept}." if kept else "No checkpoint had been saved yet."


def total_steps(config: Config, loader: Loader) -> int:
    """max_steps where given, else num_train_epochs (fractional epochs count) times the steps of an epoch."""
    if config.max_steps and config.max_steps > 0:
        return config.max_steps
    return max(1, math.ceil(config.num_train_epochs * loader.steps_per_epoch))


def _with_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each with whether it is the last one."""
    batches = iter(batches)
    held = next(batches, None)
    while held is not None:
        following = next(batches, None)
        yield held, following is None
        held = following


def _every(steps: float, total: int) -> int:
    """A number of steps; a value below 1 is a share of the training."""
    return max(1, math.ceil(total * steps)) if 0 < steps < 1 else max(1, int(steps))
