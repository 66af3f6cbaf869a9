"""status.json: what a run says of itself, held against what is true of its process.

What enters: a run folder. What leaves: the status, or a refusal to touch a folder whose job is alive. It writes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from luthier.errors import ConfigError, LuthierError
from luthier.runs.layout import Layout, shown_path
from luthier.runtime.processes import is_alive

LIVE = ("queued", "running", "stopping")


def status_on_disk(run: Layout) -> dict[str, Any]:
    try:
        text = run.status_file.read_text(encoding="utf-8")
        return json.loads(text) if text else {}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        remedy = "Delete that file if the run is over."
        raise LuthierError(f"{run.status_file} is not valid JSON ({error}).", remedy) from error


def as_it_is(run: Layout, status: dict[str, Any]) -> dict[str, Any]:
    if status.get("state") not in LIVE:
        return status
    if is_alive(status.get("pid"), status.get("pid_started"), status.get("host")) is False:
        where = f" after step {status['step']}" if status.get("step") else ""
        return {**status, "state": "died", "reason": status.get("reason") or f"the process ended without a word{where}"}
    return {**status, "state": "stopping"} if run.stop_file.exists() else status


def refuse_live(run: Layout, *mine: int | None) -> None:
    """Raise ConfigError where the job of that folder is alive, unless its process is one of mine."""
    status = as_it_is(run, status_on_disk(run))
    if status.get("state") in LIVE and status.get("pid") not in mine:
        raise ConfigError(
            f"{run.folder} holds a run that is {status['state']} (process {status.get('pid')} on {status.get('host')}).",
            f"Wait for it, stop it with: luthier runs stop {shown_path(run.folder)}  or choose another output_dir.",
        )
