"""Jobs: a training, a prediction, an export is a process of its own that reads a YAML file and writes a run folder.

What enters: a verb and its settings. What leaves: a Run. The process is no child to wait for: it has its own session, its
words go to the run's log, and it goes on whatever happens to the web process, which finds it again through luthier.runs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.config import load_config
from luthier.errors import ConfigError, LuthierError
from luthier.runs import Run, known_runs, shown_path
from luthier.runtime.files import write_atomic
from luthier.runtime.pointers import cache_folder
from luthier.webui.commands import yaml_of

STARTING = {"train": {"do_train": True}, "predict": {"do_predict": True, "predict_with_generate": True}}
"""What a verb means beside its settings, so that the run's own config.yaml says it too."""


def start(verb: str, settings: Mapping[str, Any], *, waits: bool = True) -> Run:
    """Start `luthier VERB` with these settings. Raises LuthierError before anything is written where the run cannot begin.

    waits: until no other run is busy on this machine. Two starts of one folder: the second is refused.
    """
    settings = {**STARTING.get(verb, {}), **settings}
    config = load_config(settings)
    if not config.output_dir:
        raise ConfigError("no output folder is given.", "Name a folder for this run.")

    def launch(run: Run) -> int:
        run.clear_stop()  # one that an earlier job of this folder has followed
        job = job_file(run.folder)
        job.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else sees it, not even before chmod
        write_atomic(job, yaml_of({**settings, "output_dir": str(run.folder)}))
        job.chmod(0o600)
        argv = [sys.executable, "-m", "luthier.webui.turn", verb, str(job), str(run.folder), "wait" if waits else "now"]
        with run.log_file.open("ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=Path.cwd()
            )
        return process.pid

    return Run.open(Run.announce(config, verb, launch).folder)  # one that reads what the process writes


def resume(run: Run) -> Run:
    """Go on with a run that was cut short, with its own settings."""
    status = run.status()
    if run.is_live:
        raise LuthierError(f"{shown_path(run.folder)} is {status['state']}: there is nothing to resume.")
    settings = run.saved_config() | {"output_dir": str(run.folder), "overwrite_output_dir": False}
    if run.kind == "train":
        settings["resume_from_checkpoint"] = "auto"
    return start(run.kind, settings)


def stop(run: Run) -> None:
    """Ask the run to finish its step, save and end."""
    if run.is_live:
        run.request_stop("stopped in the Board")


def abort(run: Run) -> None:
    """End the process now; what came after the last checkpoint is lost."""
    run.kill("aborted in the Board")


def job_file(folder: Path) -> Path:
    """Where the settings of a job lie: one file a run folder, written anew at each start, readable by its user alone."""
    return cache_folder() / "jobs" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}.yaml"


def listed() -> list[tuple[Run, dict[str, Any]]]:
    """Every known run with its status, newest first; those that are parts of another (of a comparison) stand for it alone."""
    found = []
    for run in known_runs():
        if (run.folder.parent / Run.status_file.name).is_file():
            continue
        try:
            found.append((run, run.status()))
        except LuthierError:
            continue
    return found


def last(kind: str, folder: str | None) -> Run | None:
    """The run in folder, else the newest of its kind."""
    runs = [run for run, _ in listed() if run.kind == kind]
    return next((run for run in runs if str(run.folder) == folder), runs[0] if runs else None)


def is_my_turn(folder: Path) -> bool:
    """Whether the queued run in folder may begin: no other is at work on this machine, and none has waited longer."""
    runs = listed()
    mine = next((status.get("created_at") or 0 for run, status in runs if run.folder == folder), time.time())
    for run, status in runs:
        if run.folder == folder or run.process() is None:
            continue
        if status["state"] in ("running", "stopping") or (status["state"] == "queued" and (status["created_at"] or 0) < mine):
            return False
    return True
