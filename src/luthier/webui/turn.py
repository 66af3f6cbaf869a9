"""The process of a job, from its start in the page to the `luthier` command that does the work: it waits for its turn.

    python -m luthier.webui.turn VERB JOB.yaml FOLDER wait|now

Enters: a queued run.  Leaves: the same process, now the command itself (train, predict: they keep their run by themselves), or
for other verbs a child whose ending is written into the run. A stop that comes while it waits ends it. Never imports torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from luthier.config import load_config
from luthier.errors import LuthierError
from luthier.runs import Run
from luthier.webui.jobs import is_my_turn

POLL_S = 1.0
PATIENCE_S = 20.0
KEEPS_ITS_RUN = ("train", "predict")


def main(verb: str, job: str, folder: str, when: str) -> int:
    """The exit code of the command."""
    run = announced(Path(folder))
    if when == "wait" and not wait_for_turn(run):
        return 0
    argv = [sys.executable, "-m", "luthier", verb, job]
    if verb in KEEPS_ITS_RUN:
        os.execv(sys.executable, argv)
    config = load_config(job)
    with Run.create(config, kind=verb) as run:
        run.start()
        code = followed(run, argv)
        if run.stop_requested():
            run.update_status(state="stopped", reason=run.stop_reason())
            run.clear_stop()
        elif code:
            raise LuthierError(last_words(run))
    return code


def followed(run: Run, argv: list[str]) -> int:
    """The exit code of a command that knows nothing of the run; a stop reaches it as Ctrl-C would."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    asked = False
    while process.poll() is None:
        if run.stop_requested() and not asked:
            process.send_signal(signal.SIGINT)
            asked = True
        time.sleep(0.2)
    return process.returncode


def announced(folder: Path) -> Run:
    """The run, as soon as the page has written that this process is its own."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if (folder / Run.status_file.name).is_file():
            run = Run.open(folder)
            if run.status().get("pid") == os.getpid():
                return run
        time.sleep(0.05)
    raise LuthierError(f"nobody has announced a run in {folder}.", "Start it from the page again.")


def wait_for_turn(run: Run) -> bool:
    """Until nothing else is at work; False where the run was stopped before that."""
    said = False
    while not is_my_turn(run.folder):
        if run.stop_requested():
            run.update_status(state="stopped", reason="stopped while it waited")
            run.clear_stop()
            return False
        if not said:
            print("Waiting until the runs before it are done.", flush=True)
            said = True
        time.sleep(POLL_S)
    return True


def last_words(run: Run) -> str:
    """The error with which the command ended, from the log."""
    lines = run.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if "Error: " in line]
    return errors[-1] if errors else (lines[-1] if lines else "it ended without a word")


if __name__ == "__main__":
    try:
        raise SystemExit(main(*sys.argv[1:5]))
    except LuthierError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
