"""The process that works on a documents project for the page: `python -m luthier.webui.documentwork FOLDER`.

Enters: the record that documentjobs.start left in the project.  Leaves: the same record with what became of it: finished,
paused or failed, with the reason in words. Asks nobody anything, and needs no page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from luthier.documents.project import Project
from luthier.errors import DataError, LuthierError
from luthier.runtime.processes import this_process
from luthier.webui.documentjobs import alone, read, write
from luthier.workflows import documents
from luthier.workflows.documents_status import jobs_of

SHOWN_EACH_S = 0.3
STOPPED = ("paused", "out of budget")


class Paused(Exception):
    """The page asked for a pause between two calls, files or stages."""


def main(folder: Path) -> None:
    with ExitStack() as stack:
        project = stack.enter_context(Project.open(folder))
        try:
            stack.enter_context(alone(project))
        except DataError as error:
            write(project, read(project) | {"state": "failed", "message": error.message, "remedy": error.remedy or ""})
            return
        record = read(project) | {key: value for key, value in this_process().items() if key != "host"}
        if record["state"] != "pausing":
            record["state"] = "running"
        write(project, record)
        note = Note(project)
        try:
            result, state, said = DO[record["verb"]](project, record["options"], note), "finished", None
        except Paused:
            result, state, said = None, "paused", None
        except LuthierError as error:
            last = jobs_of(project)[-1:]
            stopped = bool(last) and last[0]["state"] in STOPPED and last[0]["began"] >= _utc(record["began"])
            result, state, said = None, "paused" if stopped else "failed", error
        except Exception as error:
            note.end("failed", None, f"{type(error).__name__}: {error}", "The whole message is in work.log of the project.")
            raise
        note.end(state, result, said.message if said else "", (said.remedy or "") if said else "")


class Note:
    """Writes down how far the work is, and hears the wish to pause."""

    def __init__(self, project: Project):
        self.project = project
        self._last = 0.0

    def line(self, text: str) -> None:
        """After each stage."""
        print(text, flush=True)
        self._hear(read(self.project))

    def file(self, done: int, total: int, name: str) -> None:
        """Before each file that is read."""
        if time.monotonic() - self._last > SHOWN_EACH_S:
            self._last = time.monotonic()
            with self.project.store.writing():
                record = read(self.project)
                write(self.project, record | {"stage": "parse", "done": done, "total": total, "name": name})
            self._hear(record)

    def _hear(self, record: Mapping[str, Any]) -> None:
        if record.get("state") == "pausing":
            raise Paused

    def end(self, state: str, result: Any, message: str, remedy: str) -> None:
        with self.project.store.writing():
            record = {key: value for key, value in read(self.project).items() if key not in ("stage", "done", "total", "name")}
            more = {"state": state, "ended": time.time(), "result": result, "message": message, "remedy": remedy}
            write(self.project, record | more)


def _read(project: Project, options: Mapping[str, Any], note: Note) -> None:
    documents.read(project, note.line, note.file)


def _rows(project: Project, options: Mapping[str, Any], note: Note) -> None:
    documents.make_rows(project, note.line, retry_failed=bool(options.get("retry_failed")), progress=note.file)


def _pilot(project: Project, options: Mapping[str, Any], note: Note) -> list[dict[str, Any]]:
    from luthier.workflows.documents_pilot import pilot

    documents.read(project, note.line, note.file)
    return [asdict(estimate) for estimate in pilot(project)]


def _export(project: Project, options: Mapping[str, Any], note: Note) -> dict[str, Any]:
    part = project.recipe.export.model_copy(update={"dataset_dir": None})
    exported = documents.export(project, part, Path(options["dataset_dir"]))
    return {
        "version": exported.version,
        "name": exported.name,
        "counts": exported.counts,
        "is_new": exported.is_new,
        "format": part.format,
        "dataset_dir": options["dataset_dir"],
    }


DO: Mapping[str, Callable[[Project, Mapping[str, Any], Note], Any]] = {
    "read": _read,
    "rows": _rows,
    "pilot": _pilot,
    "export": _export,
}


def _utc(seconds: float) -> str:
    """As the jobs of a project write their times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
