"""The run folder: one job, one folder, and this file alone knows the names inside it.

    output_dir/
      config.yaml           what the user set, without secrets      status.json         state, process, step, loss (atomic)
      metrics.jsonl         one JSON row a log point                trainer_log.jsonl   the same in LLaMA-Factory's fields
      log.txt               everything that was said                stop.request        present: finish the step, save, end
      checkpoints/step-N    what resume needs                       tensorboard/        events
      train_results.json    and eval_, predict_, all_results.json   training_loss.png   and training_eval_loss.png, reading.md
      adapter_model.safetensors or model.safetensors, tokenizer, README.md: the trained model, where its users look for it

What enters: a Config and rows of numbers. What leaves: files, and answers about them to the command line, the page and the API.
It never imports torch and never deletes a file that Luthier did not write. A job of another kind (predict after train) may live
in the folder of a training: it keeps its own predict_config.yaml and predict_status.json beside the training's.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from luthier import __version__
from luthier.errors import ConfigError, LuthierError
from luthier.registry import nearest
from luthier.runtime.files import append_line, free_bytes, require_writable, size_text, write_atomic
from luthier.runtime.pointers import Pointers
from luthier.runtime.processes import find_process, is_alive, kill_family, this_process

if TYPE_CHECKING:
    import psutil

    from luthier.config import Config

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 200 * 1024**2
"""Less than this and a run does not begin: logs, plots and one small adapter would not fit."""

LIVE = ("queued", "running", "stopping")
KINDS = ("train", "predict", "eval", "export")
SPLITS = ("train", "eval", "predict", "all")
WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

DESCRIBING = ("stage", "finetuning_type", "model_name_or_path", "dataset", "template")
"""Keys of the configuration that status.json repeats, so that a list of runs need not open each config.yaml."""

SHOWN = ("step", "total_steps", "epoch", "loss", "eval_loss", "learning_rate", "tokens_per_second", "tokens_seen")
"""Numbers of the newest log point that status.json repeats."""

LOG_NAMES = {"learning_rate": "lr", "tokens_per_second": "throughput", "tokens_seen": "total_tokens"}
LOG_FIELDS = ("loss", "eval_loss", "predict_loss", "reward", "accuracy", "lr", "epoch", "throughput", "total_tokens")


class Name:
    """A path inside the run folder. of_kind: a job that is a guest in the folder has its own, with its kind in front."""

    def __init__(self, name: str, of_kind: bool = False):
        self.name = name
        self.of_kind = of_kind

    def __get__(self, run: Run | None, owner: type) -> Any:
        if run is None:
            return self
        return run.folder / (f"{run.kind}_{self.name}" if self.of_kind and run.is_guest else self.name)


class Run:
    """One run folder. Make one with Run.create, look at one with Run.open."""

    config_file = Name("config.yaml", of_kind=True)
    status_file = Name("status.json", of_kind=True)
    stop_file = Name("stop.request", of_kind=True)
    log_file = Name("log.txt")
    metrics_file = Name("metrics.jsonl")
    trainer_log_file = Name("trainer_log.jsonl")
    predictions_file = Name("generated_predictions.jsonl")
    report_page = Name("report.html")
    label_report = Name("classification_report.json")
    confusion_plot = Name("confusion_matrix.png")
    curve_reading = Name("reading.md")
    loss_plot = Name("training_loss.png")
    eval_plot = Name("training_eval_loss.png")
    model_card = Name("README.md")
    checkpoints_folder = Name("checkpoints")
    tensorboard_folder = Name("tensorboard")
    cache = Name("cache")

    def __init__(self, folder: Path, kind: str = "train", is_guest: bool = False):
        self.folder = folder
        self.kind = kind
        self.is_guest = is_guest
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
        before = announced.get("before") or run._status_on_disk()
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
        run._begin_with(config, whose | ({"before": run._status_on_disk()} if earlier else {}))
        if earlier:
            write_atomic(run.status_file, _json(run._status or {}))
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
        return self._as_it_is(self._read_status())

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
        append_line(self.metrics_file, _json(row))
        append_line(self.trainer_log_file, _json(self._log_row(row)))
        self._merge_status({key: row[key] for key in SHOWN if key in row})

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, oldest first. A torn last row (killed while writing) is left out."""
        return list(read_rows(self.metrics_file))

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows after step, so that a run resumed from its checkpoint at step writes them once."""
        self._first_step = step
        for file, key in ((self.metrics_file, "step"), (self.trainer_log_file, "current_steps")):
            if file.is_file():
                kept = [_json(row) for row in read_rows(file) if row.get(key, 0) <= step]
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

    def results_file(self, split: str) -> Path:
        return self.folder / f"{split}_results.json"

    def plot_file(self, metric: str) -> Path:
        """rewards/accuracies -> training_rewards_accuracies.png"""
        return self.folder / f"training_{metric.replace('/', '_')}.png"

    # ---- model and checkpoints ----

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints_folder / f"step-{step}"

    def checkpoints(self) -> list[Path]:
        """Newest first. Folders under another name (one being written) are not among them."""
        return _checkpoints(self.checkpoints_folder)

    def resume_checkpoints(self) -> list[Path]:
        """Checkpoints to try, best first; the first good one is gone on from. Empty: start at step 0.

        resume_from_checkpoint true or auto, or unset in the folder of a run that was cut short (as LLaMA-Factory does):
        this run's own. A run folder: those of that run. A checkpoint folder: that one alone.
        """
        return list(self._resume)

    def has_model(self) -> bool:
        return any((self.folder / name).is_file() for name in WEIGHTS)

    def saved_config(self) -> dict[str, Any]:
        """config.yaml as a plain mapping: the keys that were set."""
        return yaml.safe_load(self.config_file.read_text(encoding="utf-8")) or {}

    def require_space(self, num_bytes: int, what: str) -> None:
        """Raise LuthierError with both numbers unless num_bytes are free for what."""
        free = free_bytes(self.folder)
        if free < num_bytes:
            raise LuthierError(
                f"the disk is nearly full: {what} in {self.folder} needs {size_text(num_bytes)}, {size_text(free)} are free.",
                "Free some space or choose an output_dir on another disk.",
            )

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
            _refuse_model_folder(folder, config)
        require_writable(folder, "output_dir")
        owner = cls.open(folder) if cls(folder).status_file.is_file() else None
        run = cls(folder, kind, is_guest=owner is not None and owner.kind != kind)
        run.require_space(MIN_FREE_BYTES, "a run")
        if owner is not None:
            owner._refuse_live()
        announced = run._announced()
        earlier = "before" in announced if announced else run.status_file.is_file()
        run._refuse_occupied(config, earlier)
        run._resume = run._checkpoints_to_resume(config, earlier)
        return run, earlier

    def _refuse_live(self) -> None:
        status = self._as_it_is(self._status_on_disk())
        mine = (os.getpid(), self._status["pid"] if self._status else None)
        if status.get("state") in LIVE and status.get("pid") not in mine:
            raise ConfigError(
                f"{self.folder} holds a run that is {status['state']} (process {status.get('pid')} on {status.get('host')}).",
                f"Wait for it, stop it with: luthier runs stop {shown_path(self.folder)}  or choose another output_dir.",
            )

    def _refuse_occupied(self, config: Config, earlier: bool) -> None:
        """What ended well is kept unless the user says overwrite or resume; a run that was cut short is gone on with."""
        wish = _resume_wish(config)
        if config.overwrite_output_dir:
            self._refuse_own_checkpoint(config)
            return
        if wish not in (None, "false"):
            return
        status = self._status_on_disk()
        state = status.get("before", status).get("state") if earlier else None
        if earlier and (state == "finished" or (wish == "false" and self.checkpoints())):
            raise ConfigError(
                f"output_dir {self.folder} already holds a {self.kind} run ({state}).",
                "Choose another output_dir, go on with resume_from_checkpoint=auto, or start over: overwrite_output_dir=true.",
            )
        if not earlier and self.kind == "train" and self.has_model():
            raise ConfigError(
                f"output_dir {self.folder} already holds a trained model.",
                "Choose another output_dir, or allow its replacement with overwrite_output_dir=true.",
            )

    def _refuse_own_checkpoint(self, config: Config) -> None:
        """Overwriting deletes the checkpoints: none of them may be what the new run starts from."""
        for key in ("model_name_or_path", "adapter_name_or_path", "resume_from_checkpoint"):
            value = getattr(config, key)
            for source in value if isinstance(value, list | tuple) else [value]:
                if isinstance(source, str | Path) and resolve_checkpoint(source).resolve().is_relative_to(
                    self.checkpoints_folder
                ):
                    raise ConfigError(
                        f"{key} {source} lies in output_dir {self.folder}, which overwrite_output_dir would empty.",
                        "Choose another output_dir, or leave overwrite_output_dir out.",
                    )

    def _checkpoints_to_resume(self, config: Config, earlier: bool) -> list[Path]:
        wish = _resume_wish(config)
        if self.kind != "train" or wish == "false":
            return []
        if wish is None:
            return self.checkpoints() if earlier and not config.overwrite_output_dir else []
        if wish == "auto":
            return self.checkpoints()
        where = self.folder if wish == "true" else resolve_checkpoint(wish).resolve()
        whole_run = _checkpoints(Run(where).checkpoints_folder)
        found = whole_run or ([where] if where != self.folder and where.is_dir() else [])
        if not found:
            raise ConfigError(
                f"resume_from_checkpoint: there is no checkpoint in {where}.",
                "resume_from_checkpoint=auto starts fresh where there is none.",
            )
        return found

    # ---- inside: status.json ----

    def _announced(self) -> dict[str, Any]:
        """The status that the process which started this one wrote for it (a detached run); {} where there is none."""
        status = self._status_on_disk()
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
        write_atomic(self.status_file, _json(self._status))

    def _status_on_disk(self) -> dict[str, Any]:
        try:
            text = self.status_file.read_text(encoding="utf-8")
            return json.loads(text) if text else {}
        except FileNotFoundError:
            return {}
        except ValueError as error:
            remedy = "Delete that file if the run is over."
            raise LuthierError(f"{self.status_file} is not valid JSON ({error}).", remedy) from error

    def _read_status(self) -> dict[str, Any]:
        return dict(self._status) if self._status is not None else self._status_on_disk()

    def _as_it_is(self, status: dict[str, Any]) -> dict[str, Any]:
        if status.get("state") not in LIVE:
            return status
        if is_alive(status.get("pid"), status.get("pid_started"), status.get("host")) is False:
            where = f" after step {status['step']}" if status.get("step") else ""
            return {**status, "state": "died", "reason": status.get("reason") or f"the process ended without a word{where}"}
        return {**status, "state": "stopping"} if self.stop_requested() else status

    def _merge_status(self, fields: Mapping[str, Any]) -> None:
        status = self._read_status() | {key: plain_number(value) for key, value in fields.items()} | {"updated_at": time.time()}
        if fields.get("state", "queued") not in LIVE:
            status["finished_at"] = status["updated_at"]
        if self._status is not None:
            self._status = status
        if self._waiting_config is None or "before" in status:
            write_atomic(self.status_file, _json(status), durable=False)

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


# ---- folders ----


def output_folder(config: Config, kind: str) -> Path:
    """config.output_dir, or a new folder runs/<kind>-<time> where it is unset. Absolute."""
    if config.output_dir:
        return Path(config.output_dir).expanduser().resolve()
    first = Path("runs").resolve() / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, count = first, 2
    while folder.exists():
        folder, count = first.with_name(f"{first.name}-{count}"), count + 1
    return folder


def resolve_checkpoint(path: str | Path) -> Path:
    """X/checkpoint-500, as LLaMA-Factory users write it, is X/checkpoints/step-500 here; other paths stay as they are."""
    path = Path(path).expanduser()
    match = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return Run(path.parent).checkpoint(int(match[1])) if match and not path.exists() else path


def shown_path(folder: Path) -> str:
    """The path as a person in this folder would type it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder != here and folder.is_relative_to(here) else str(folder)


def _resume_wish(config: Config) -> str | None:
    """resume_from_checkpoint: None, "auto", "true", "false" or a path."""
    wish = config.resume_from_checkpoint
    return str(wish).lower() if str(wish).lower() in ("auto", "true", "false") else wish


def _refuse_model_folder(folder: Path, config: Config) -> None:
    for key in ("model_name_or_path", "ref_model", "reward_model"):
        source = getattr(config, key)
        if source and Path(source).expanduser().is_dir() and Path(source).expanduser().resolve() == folder:
            raise ConfigError(f"output_dir {folder} is the folder of {key}.", "Choose another output_dir.")


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if re.fullmatch(r"step-\d+", path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


# ---- every run of this user ----


def known_runs() -> list[Run]:
    """Every run that this user ever made and that is still there, and those under ./saves and ./runs; newest first."""
    name, pointers = Run.status_file.name, Pointers("runs")
    nearby = [Path(base).glob(f"{'*/' * depth}{name}") for base in ("saves", "runs") for depth in range(1, 5)]
    folders = {status.parent.resolve() for found in nearby for status in found}
    for folder in pointers.all():
        if (folder / name).is_file():
            folders.add(folder)
        else:
            pointers.forget(folder)
    runs = []
    for folder in folders:
        try:
            runs.append(Run.open(folder))
        except LuthierError as error:
            log.warning("%s", error.message)
    return sorted(runs, key=lambda run: run.status().get("created_at") or 0, reverse=True)


def find_run(name: str | None) -> Run:
    """name: a run folder, its last part, a run_name, or None for the newest run."""
    if name and Run(Path(name).expanduser()).status_file.is_file():
        return Run.open(name)
    runs = known_runs()
    if not runs:
        raise LuthierError("there is no run yet.", "luthier train makes one; luthier quickstart shows how.")
    if name is None:
        return runs[0]
    found = [run for run in runs if name in (run.folder.name, run.status().get("name"))]
    if len(found) == 1:
        return found[0]
    if found:
        folders = "\n  ".join(str(run.folder) for run in found)
        raise LuthierError(f'"{name}" is the name of {len(found)} runs.', f"Name the folder:\n  {folders}")
    close = nearest(name, [run.folder.name for run in runs])
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    raise LuthierError(f'there is no run "{name}".', f"{hint}luthier runs list shows all of them.")


def _remember(folder: Path) -> None:
    try:
        Pointers("runs").add(folder)
    except (OSError, LuthierError) as error:
        log.warning("%s is not remembered (%s): luthier runs list finds it only from %s", folder, error, folder.parent)


# ---- rows ----


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a .jsonl file that may be growing: rows that are not whole are left out."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def plain_number(value: Any) -> Any:
    """numpy and torch scalars become Python numbers; NaN and infinities, which JSON has not, become None."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode()
