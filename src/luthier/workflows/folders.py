"""Where the results of a verb go that answers or scores with something trained, when no output_dir is given."""

from __future__ import annotations

import os
from pathlib import Path

from luthier.config import Config
from luthier.runs import Run


def output_folder(config: Config, verb: str) -> str | None:
    """output_dir; where none is given, <verb> in the adapter's folder (<verb>-2 where that holds a finished run)."""
    trained = Path((config.adapter_name_or_path or [""])[-1]).expanduser()
    if config.output_dir or not (config.adapter_name_or_path and trained.is_dir() and os.access(trained, os.W_OK)):
        return config.output_dir
    folder, count = trained / verb, 2
    while not config.overwrite_output_dir and _is_finished(folder):
        folder, count = trained / f"{verb}-{count}", count + 1
    return str(folder)


def _is_finished(folder: Path) -> bool:
    return folder.exists() and (not Run(folder).status_file.is_file() or Run.open(folder).status().get("state") == "finished")
