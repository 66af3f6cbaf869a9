"""One run: made, started, followed, ended.

What enters: a Config and rows of numbers. What leaves: status.json, metrics.jsonl, trainer_log.jsonl, results, under the names
that layout.py gives. It deletes nothing that Luthier did not write.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from luthier import __version__
from luthier.errors import LuthierError
from luthier.runs.admission import checkpoints_to_resume, refuse_model_folder, refuse_occupied, require_space
from luthier.runs.layout import KINDS, SPLITS, Layout, output_folder, shown_path
from luthier.runs.rows import plain_number, read_rows, to_json
from luthier.runs.status import LIVE, as_it_is, refuse_live, status_on_disk
from luthier.runtime.files import append_line, require_writable, write_atomic
from luthier.runtime.pointers import Pointers
from luthier.runtime.processes import find_process, is_alive, kill_family, this_process

if TYPE_CHECKING:
    import psutil

    from luthier.config import Config

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 200 * 1024**2
"""Less than this and a run does not begin: logs, plots and one small adapter would not fit."""

DESCRIBING = ("stage", "finetuning_type", "model_name_or_path", "dataset", "template")
"""Keys of the configuration that status.json repeats, so that a list of runs need not open each config.yaml."""

SHOWN = ("step", "total_steps", "epoch", "loss", "eval_loss", "learning_rate", "tokens_per_second", "tokens_seen")
"""Numbers of the newest log point that status.json repeats."""

LOG_NAMES = {"learning_rate": "lr", "tokens_per_second": "throughput", "tokens_seen": "total_tokens"}
LOG_FIELDS = ("loss", "eval_loss", "predict_loss", "reward", "accuracy", "lr", "epoch", "throughput", "total_tokens")


class Run(Layout):
    """One run folder. Make one with Run.create, look at one with Run.open."""

    def __init__(self, folder: Path, kind: str = "train", is_guest: bool = False):
        super().__init__(folder, kind, is_guest)
        self._status: dict[str, Any] | None = None  # set in the process that does the work
        self._waiting_config: str | None = None  # config.yaml, until start() where an earlier run lies in the folder
        self._resume: list[Path] = []
        self._started_at = time.time()
        self._first_step = 0

    # ---- making and finding ----

    @classmethod
    def create(cls, config: Config, kind: str = "train") -> Run:
        """Check the folder and make the run. Where an earlier run is to be overwritten or gone on with, nothing of it is
        touched until start(), so that a mistake found in between (a missing dataset, a broken model) costs nothing.

        Raises ConfigError for a folder that is occupied, unwritable, on a full disk, or the model's own.
        """
        run, earlier = cls._prepare(config, kind)
        announced = run._announced()
        whose = this_process() | {key: announced[key] for key in ("before", "detached") if key in announced}
        before = announced.get("before") or status_on_disk(run)
        if set(run._resume) & set(run.checkpoints()):  # it goes on, and so do its numbers
            whose |= {key: before[key] for key in SHOWN if key in before}
        run._begin_with(config, whose)
        if not earlier:
            run._claim()
        return run

    @classmethod
    def check(cls, config: Config, kind: str = "train") -> Run:
        """Everything that create refuses, without writing anything."""
        return cls._prepare(config, kind)[0]

    @classmethod
    def announce(cls, config: Config, kind: str, start: Callable[[Run], int]) -> Run:
        """Check as create does, start(run) another process that will create the run, and say "queued" in its name.

        start: gets the run (its folder exists), returns the process number.
        """
        run, earlier = cls._prepare(config, kind)
        run.folder.mkdir(parents=True, exist_ok=True)
        pid = start(run)
        process = find_process(pid, None)
        whose = this_process() | {"pid": pid, "pid_started": process.create_time() if process else None, "detached": True}
        run._begin_with(config, whose | ({"before": status_on_disk(run)} if earlier else {}))
        if earlier:
            write_atomic(run.status_file, to_json(run._status or {}))
        else:
            run._claim()
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """An existing run. Raises LuthierError where the folder holds none."""
        run = cls(Path(folder).expanduser().resolve())
        if not run.status_file.is_file():
            raise LuthierError(
                f"{run.folder} is not a run folder (no status.json).", "luthier runs list shows all that are known."
            )
        run.kind = run._read_status().get("kind", "train")
        return run

    def start(self) -> None:
        """The work begins now: clear what an overwritten run left, write config.yaml, say "running"."""
        if self._waiting_config is not None:
            self._refuse_live()
            if not self._resume and not self.is_guest:
                self.clear_reports()
            write_atomic(self.config_file, self._waiting_config)
            self._waiting_config = None
        if self._status is not None:
            self._status.pop("before", None)
        self.clear_stop()
        self._started_at = time.time()
        self._merge_status({"state": "running", "started_at": self._started_at, "reason": None, **this_process()})

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """with Run.create(config) as run: an exception leaves state "failed" (Ctrl-C: "stopped") and the reason."""
        if isinstance(error, KeyboardInterrupt):
            self._merge_status({"state": "stopped", "reason": "interrupted"})
        elif error is not None:
            reason = error.message if isinstance(error, LuthierError) else f"{type(error).__name__}: {error}"
            self._merge_status({"state": "failed", "reason": reason})
        elif self._read_status().get("state") in LIVE:
            self._merge_status({"state": "finished"})

    # ---- status ----

    def status(self) -> dict[str, Any]:
        """The contents of status.json, with the state as it is now: "died" for a process that ended without saying so,
        "stopping" for one that was asked to stop. A process of another machine is taken at its word."""
        return as_it_is(self, self._read_status())

    def update_status(self, **fields: Any) -> None:
        """Merge fields into status.json. The first state="running" is start()."""
        if fields.get("state") == "running" and self._read_status().get("state") != "running":
            self.start()
        self._merge_status(fields)

    def process(self) -> psutil.Process | None:
        """The process of this run, if it lives on this machine."""
        status = self._read_status()
        here = status.get("state") in LIVE and is_alive(status.get("pid"), status.get("pid_started"), status.get("host"))
        return find_process(status["pid"], status.get("pid_started")) if here else None

    def kill(self, reason: str) -> None:
        """End the process and its children now; what came after the last checkpoint is lost.

        Raises LuthierError where the process is not on this machine.
        """
        process = self.process()
        if process is None:
            raise LuthierError(
                f"the process of {shown_path(self.folder)} is not on this machine.",
                "Stop it there, or ask it to stop: luthier runs stop.",
            )
        kill_family(process)
        self.update_status(state="stopped", reason=reason)

    @property
    def is_live(self) -> bool:
        return self.status().get("state") in LIVE

    def request_stop(self, reason: str = "asked to stop") -> None:
        """Ask the run to finish its step, save and end."""
        write_atomic(self.stop_file, f"{reason}\n")

    def stop_requested(self) -> bool:
        return self.stop_file.exists()

    def stop_reason(self) -> str | None:
        return self.stop_file.read_text(encoding="utf-8").strip() if self.stop_file.is_file() else None

    def clear_stop(self) -> None:
        self.stop_file.unlink(missing_ok=True)

    # ---- numbers ----

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """One log point: row["step"], and what is known of loss, eval_loss, learning_rate (per step), grad_norm, epoch,
        tokens_per_second, tokens_seen, total_steps. Goes to metrics.jsonl, trainer_log.jsonl and status.json."""
        row = {key: plain_number(value) for key, value in row.items()}
        append_line(self.metrics_file, to_json(row))
        append_line(self.trainer_log_file, to_json(self._log_row(row)))
        self._merge_status({key: row[key] for key in SHOWN if key in row})

    def append_sample(self, row: Mapping[str, Any]) -> None:
        """An answer that a training drew and judged: step (from 1), prompt, completion, reward. Goes to samples.jsonl."""
        append_line(self.samples_file, to_json({key: plain_number(value) for key, value in row.items()}))

    def read_samples(self) -> list[dict[str, Any]]:
        """The rows of samples.jsonl, oldest first; [] for a training that draws no answers."""
        return list(read_rows(self.samples_file))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, oldest first. A torn last row (killed while writing) is left out."""
        return list(read_rows(self.metrics_file))

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows after step, so that a run resumed from its checkpoint at step writes them once."""
        self._first_step = step
        files = ((self.metrics_file, "step"), (self.samples_file, "step"), (self.trainer_log_file, "current_steps"))
        for file, key in files:
            if file.is_file():
                kept = [to_json(row) for row in read_rows(file) if row.get(key, 0) <= step]
                write_atomic(file, b"".join(line + b"\n" for line in kept))
        self._merge_status({"step": step})

    def write_results(self, split: str, metrics: Mapping[str, Any]) -> None:
        """split: train, eval or predict. Writes <split>_results.json and merges into all_results.json."""
        metrics = {key: plain_number(value) for key, value in metrics.items()}
        merged = {**self.read_results(), **metrics}
        for file, values in ((self.results_file(split), metrics), (self.results_file("all"), merged)):
            write_atomic(file, json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True) + "\n")

    def read_results(self, split: str = "all") -> dict[str, Any]:
        file = self.results_file(split)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    # ---- model and checkpoints ----

    def resume_checkpoints(self) -> list[Path]:
        """Checkpoints to try, best first; the first good one is gone on from. Empty: start at step 0.

        resume_from_checkpoint true or auto, or unset in the folder of a run that was cut short (as LLaMA-Factory does):
        this run's own. A run folder: those of that run. A checkpoint folder: that one alone.
        """
        return list(self._resume)

    # ---- deleting ----

    def clear_reports(self) -> None:
        """Delete what an earlier run wrote here, but for its log and its model: the new run may start from that model, and
        replaces it when its own is saved."""
        files = [self.metrics_file, self.trainer_log_file, self.curve_reading, self.predictions_file, self.stop_file]
        files += [self.report_page, self.label_report, self.confusion_plot]
        files += [self.plot_file(name) for name in {key for row in self.read_metrics() for key in row}]
        files += [self.results_file(split) for split in SPLITS]
        for kind in KINDS:
            guest = Run(self.folder, kind, is_guest=True)
            files += [guest.config_file, guest.status_file, guest.stop_file]
        for file in files:
            file.unlink(missing_ok=True)
        for folder in (self.checkpoints_folder, self.tensorboard_folder, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Delete the whole folder. Refuses while the run is alive, and a folder that is more than a run's."""
        self._refuse_live()
        if not self.status_file.is_file() or Path.home().is_relative_to(self.folder) or Path.cwd().is_relative_to(self.folder):
            raise LuthierError(f"{self.folder} is not removed: it is more than a run folder.", "Delete its files by hand.")
        shutil.rmtree(self.folder)
        Pointers("runs").forget(self.folder)

    # ---- inside: what create refuses ----

    @classmethod
    def _prepare(cls, config: Config, kind: str) -> tuple[Run, bool]:
        """The run and whether an earlier one lies in its folder. Reads only."""
        folder = output_folder(config, kind)
        if kind == "train":
            refuse_model_folder(folder, config)
        require_writable(folder, "output_dir")
        owner = cls.open(folder) if cls(folder).status_file.is_file() else None
        run = cls(folder, kind, is_guest=owner is not None and owner.kind != kind)
        require_space(run.folder, MIN_FREE_BYTES, "a run")
        if owner is not None:
            refuse_live(owner, os.getpid())
        announced = run._announced()
        earlier = "before" in announced if announced else run.status_file.is_file()
        refuse_occupied(run, config, earlier)
        run._resume = checkpoints_to_resume(run, config, earlier)
        return run, earlier

    def _refuse_live(self) -> None:
        refuse_live(self, os.getpid(), (self._status or {}).get("pid"))

    # ---- inside: status.json ----

    def _announced(self) -> dict[str, Any]:
        """The status that the process which started this one wrote for it (a detached run); {} where there is none."""
        status = status_on_disk(self)
        return status if status.get("state") == "queued" and status.get("pid") == os.getpid() else {}

    def _begin_with(self, config: Config, whose: Mapping[str, Any]) -> None:
        """The first status and config.yaml, in memory. whose: the process that does the work."""
        values = config.to_dict() | {"output_dir": str(self.folder)}  # to_dict leaves secrets out
        self._waiting_config = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
        self._status = {
            "state": "queued",
            "kind": self.kind,
            "name": values.get("run_name") or self.folder.name,
            **{key: getattr(config, key) for key in DESCRIBING},
            **whose,
            "cwd": str(Path.cwd()),
            "created_at": time.time(),
            "version": __version__,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        _remember(self.folder)

    def _claim(self) -> None:
        """Write the first status.json. Of two processes that make the same folder at once, one is refused."""
        assert self._status is not None and self._waiting_config is not None
        try:
            self.status_file.open("x").close()
        except FileExistsError:
            self._refuse_live()
            if self._status["pid"] != os.getpid():  # announced too late: the process itself was faster
                return
        write_atomic(self.config_file, self._waiting_config)
        self._waiting_config = None
        write_atomic(self.status_file, to_json(self._status))

    def _read_status(self) -> dict[str, Any]:
        return dict(self._status) if self._status is not None else status_on_disk(self)

    def _merge_status(self, fields: Mapping[str, Any]) -> None:
        status = self._read_status() | {key: plain_number(value) for key, value in fields.items()} | {"updated_at": time.time()}
        if fields.get("state", "queued") not in LIVE:
            status["finished_at"] = status["updated_at"]
        if self._status is not None:
            self._status = status
        if self._waiting_config is None or "before" in status:
            write_atomic(self.status_file, to_json(status), durable=False)

    def _log_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row in LLaMA-Factory's names and units: percentage of steps, times as H:MM:SS."""
        renamed = {LOG_NAMES.get(key, key): value for key, value in row.items()}
        step, total = row["step"], row.get("total_steps") or self._read_status().get("total_steps")
        done, elapsed_s = step, row.get("elapsed_s")  # elapsed_s counts from step 0, also after a resume
        if elapsed_s is None:
            done, elapsed_s = step - self._first_step, time.time() - self._started_at
        out: dict[str, Any] = {"current_steps": step, "total_steps": total}
        out |= {key: renamed[key] for key in LOG_FIELDS if key in renamed}
        out["elapsed_time"] = str(timedelta(seconds=int(elapsed_s)))
        if total and done > 0:
            remaining_s = elapsed_s / done * (total - step)
            out |= {"percentage": round(100 * step / total, 2), "remaining_time": str(timedelta(seconds=int(remaining_s)))}
        return out


def _remember(folder: Path) -> None:
    try:
        Pointers("runs").add(folder)
    except (OSError, LuthierError) as error:
        log.warning("%s is not remembered (%s): luthier runs list finds it only from %s", folder, error, folder.parent)
