"""The training loop: steps until done, evaluating, logging and saving on the way; resumed bit for bit from any checkpoint.

What enters: a stage, a model with its adapter attached, a Loader, evaluation stores, a Run. What leaves: the trained model in
place, metrics in the run, a summary. It never prints (callbacks do), and nothing in it knows one stage from another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from luthier.config import Config
from luthier.errors import CheckpointError
from luthier.runs import Run
from luthier.trainer import checkpoint as checkpoints
from luthier.trainer.calendar import Calendar
from luthier.trainer.callbacks.base import Callback, Progress
from luthier.trainer.compute import Compute
from luthier.trainer.evaluation import add_sums, evaluate
from luthier.trainer.goal import Goal
from luthier.trainer.memory import peak_memory_bytes
from luthier.trainer.optimizers import make_optimizer
from luthier.trainer.parallel import Parallel
from luthier.trainer.schedules import Plateau, make_schedule
from luthier.trainer.update import Updater
from luthier.trainer.window import Window

if TYPE_CHECKING:
    from luthier.adapters.base import Adapter
    from luthier.batches.loader import EvaluationLoader, Loader
    from luthier.config.sharding import Sharding
    from luthier.models.score import Scorer
    from luthier.runtime.precision import Precision
    from luthier.stages.base import Stage

logger = logging.getLogger(__name__)


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
        self._save_model, self._identity, self._stop_asked = save_model, dict(identity), stop_asked
        self.calendar = Calendar(config, loader.steps_per_epoch)
        self.goal = Goal(config, stage.goal)
        total = self.calendar.total_steps
        self.progress = Progress(total_steps=total, num_epochs=total / loader.steps_per_epoch)
        self.optimizer = make_optimizer(model, config, total)
        self.schedule = make_schedule(self.optimizer, config, total)
        self.updater = Updater(
            config,
            compute=self.compute,
            optimizer=self.optimizer,
            loader=loader,
            parallel=parallel,
            precision=precision,
            micro_batch_tokens=micro_batch_tokens,
            last_good=self._last_good,
        )
        self._resume_from = resume_from
        self._window = Window()
        self._last: dict[str, float] = {}
        self._elapsed_s = 0.0

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
                if self.calendar.due("logging", progress):
                    self._log(self._window_row())
                if self.evaluations and self.calendar.due("eval", progress):
                    self._evaluate_and_log()
                    if self.goal.given_up:
                        state, reason = "stopped early", self.goal.given_up
                if self._wants_stop():
                    state, reason = "stopped", "asked to stop"
                if self.calendar.must_save(progress, stopped=state == "stopped"):
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
            summary |= {"best_step": progress.best_step, f"best_{self.goal.metric}": progress.best_metric}
        self._call("on_train_end", summary)
        return summary

    def _step(self, number: int) -> None:
        """One optimizer step on all ranks, the one after `number` finished ones."""
        began = time.perf_counter()
        step = self.loader.step(number)
        updates = [self.updater.update(part) for part in step.parts or (step,)]
        loss, norm = (sum(update[i] for update in updates) / len(updates) for i in (0, 1))
        metrics = dict(step.metrics)
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
        self._window.add(loss, step.tokens, seconds, metrics)
        self._last = {"grad_norm": norm, "learning_rate": rate}
        shown = {"loss": loss, **self._last, "tokens_per_second": step.tokens / seconds, "step_time_s": seconds}
        self._call("on_step_end", shown)

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Within it the weights are those to evaluate and save: schedule-free optimizers learn elsewhere."""
        elsewhere = getattr(self.optimizer, "learning", False)
        if elsewhere:
            self.optimizer.eval()
        yield
        if elsewhere:
            self.optimizer.train()

    # ---- evaluating ---------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Mean loss over each evaluation set: eval_loss, or eval_<name>_loss and their mean where there are several."""
        with self._settled():
            metrics = evaluate(
                self.compute,
                self.evaluations,
                parallel=self.parallel,
                precision=self.precision,
                max_tokens=self.updater.micro_batch_tokens * 2,  # no gradients are kept
                with_accuracy=self._all_metrics,
                on_begin=lambda batches: self._call("on_evaluate_begin", batches),
                on_batch=lambda done: self._call("on_evaluate_step", done),
            )
        self._call("on_evaluate_end", metrics)
        self.scorer.train()
        return metrics

    def _evaluate_and_log(self) -> None:
        metrics = self.evaluate()
        value = self.goal.read(metrics)
        self.goal.judge(value, self.progress)
        if isinstance(self.schedule, Plateau):
            self.schedule.evaluated(-self.goal.sign * value)
        self._log(metrics)

    @property
    def _all_metrics(self) -> bool:
        """The accuracy of single tokens is told to those who ask; stages that judge whole samples tell theirs."""
        return not self.config.prediction_loss_only and (self.config.compute_accuracy or self.stage.unit == "sample")

    # ---- logging ------------------------------------------------------------------------------------------------------

    def _window_row(self) -> dict[str, Any]:
        window, self._window = self._window, Window()
        row = {"loss": window.loss / window.steps, **self._last}
        told = self.stage.finish_metrics(window.means)
        row |= {name: mean for name, mean in told.items() if name != "accuracy" or self._all_metrics}
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
            "scaler": self.updater.scaler.state_dict(),
            "stage": self.stage.state(),
            "window": asdict(self._window),
            "evaluations_without_gain": self.goal.waited,
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
        best = self.progress.best_step if self.config.load_best_model_at_end else None
        keep = None if best is None else self.run.checkpoint(best)
        checkpoints.forget(self.run.checkpoints(), limit=self.config.save_total_limit, keep=keep)

    def _restore(self, folder: Path) -> None:
        state, tensors = checkpoints.read(folder)
        self._load_weights(folder)
        checkpoints.restore_optimizer(self.optimizer, checkpoints.parameter_names(self.model), tensors)
        self.schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr()):
            group["lr"] = rate
        self.updater.scaler.load_state_dict(state["scaler"])
        self.stage.restore(state.get("stage", {}))
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self._window = Window(**state["window"])
        self.goal.waited = state["evaluations_without_gain"]
        self._elapsed_s = state["elapsed_s"]
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
