"""What is at work on a documents project: started as a process of its own, asked to pause, and read by any page.

Enters: a project's folder.  Leaves: a record in the project's own database, so that every page, also one that is
opened tomorrow, sees the same truth. The process goes on whatever happens to the web process (documentwork.py is that process).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from luthier.documents.project import Project
from luthier.documents.review import counts
from luthier.errors import DataError
from luthier.runtime.processes import find_process
from luthier.workflows.documents_status import jobs_of, spent_of

VERBS = ("read", "rows", "pilot", "export")
"""read: files to texts to chunks.  rows: everything but the export."""

BUSY = ("starting", "running", "pausing")
KEY = "work"
LOG = "work.log"
LOCK_S = 6.0
START_S = 30.0
"""In which a process that was started has a number."""


def start(folder: Path, verb: str, **options: Any) -> None:
    """Start a verb on the project in folder. Raises DataError where another process works on it."""
    assert verb in VERBS
    with Project.open(folder) as project:
        if work_of(project)["state"] in BUSY:
            raise DataError("something is at work on this project already.", "Wait for it, or pause it.")
        with alone(project):
            record = {"verb": verb, "options": options, "state": "starting", "began": time.time()}
            write(project, record)
        argv = [sys.executable, "-m", "luthier.webui.documentwork", str(folder)]
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        with project.store.writing():
            now = read(project)
            if now.get("state") == "starting":  # unless it was faster
                write(project, now | {"pid": process.pid})


@contextmanager
def alone(project: Project, wait_s: float = LOCK_S) -> Iterator[None]:
    """The right to change the project, as soon as whoever has it for a moment gives it back. Raises DataError after wait_s."""
    until = time.monotonic() + wait_s
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(project.working())
                break
            except DataError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield


def pause(folder: Path) -> None:
    """Let the calls in the air be answered, then stop; what is done stays done."""
    with Project.open(folder) as project, project.store.writing():
        project.store.write("UPDATE job SET wanted='pause' WHERE state='running'")
        record = read(project)
        if record.get("state") in ("starting", "running"):
            write(project, record | {"state": "pausing"})


def work_of(project: Project) -> dict[str, Any]:
    """The last work: verb, began, ended, message, remedy, result; stage with done and total while files are read.

    state: none, starting, running, pausing, finished, paused, failed or died.
    """
    record = {"verb": "", "state": "none", "message": "", "remedy": "", "result": None} | read(project)
    if record["state"] not in BUSY:
        return record
    known = find_process(record.get("pid"), record.get("pid_started")) is not None
    is_young = "pid" not in record and time.time() - record["began"] < START_S
    return record if known or is_young else record | {"state": "died"}


def progress_of(project: Project) -> dict[str, Any]:
    """Everything that the job card says: the work, the last job of each stage, what calls cost, and how far the project is."""
    store = project.store

    def count(sql: str) -> int:
        return int(store.value(f"SELECT count(*) FROM {sql}") or 0)  # type: ignore[arg-type]

    states = dict(map(tuple, store.all("SELECT state, count(*) FROM document GROUP BY state")))
    return {
        "work": work_of(project),
        "generator": project.recipe.ask.generator,
        "jobs": jobs_of(project),
        "spent": spent_of(project),
        "documents": states,
        "chunks": count("chunk WHERE state='current'"),
        "rows": count(
            "answer JOIN question ON question.id=answer.question JOIN chunk ON chunk.id=question.chunk "
            "WHERE answer.state='current' AND question.state='current' AND chunk.state='current'"
        ),
        "open": counts(project)["open"],
        "exports": count("export"),
    }


def read(project: Project) -> dict[str, Any]:
    """The record as it was written, {} where there is none."""
    text = project.store.value("SELECT value FROM setting WHERE key=?", KEY)
    return json.loads(str(text)) if text else {}


def write(project: Project, record: dict[str, Any]) -> None:
    project.store.put("setting", key=KEY, value=json.dumps(record, ensure_ascii=False))
