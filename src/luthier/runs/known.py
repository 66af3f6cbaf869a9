"""Every run of this user: those ever made and still there, and those lying nearby.

What enters: a name, or nothing. What leaves: runs. The list of folders lies in the user's cache (runtime.pointers).
"""

from __future__ import annotations

import logging
from pathlib import Path

from luthier.errors import LuthierError
from luthier.registry import nearest
from luthier.runs.run import Run
from luthier.runtime.pointers import Pointers

log = logging.getLogger(__name__)


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
