"""Where the benchmarks find what they need: the repository, the real test material, a work folder.

Enters: command-line options. Leaves: paths. Never copies material into the repository (the work folder is ignored by git).
"""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = REPOSITORY.parent / "shared" / "assets"
WORK = REPOSITORY / ".cache" / "bench"
RESULTS = REPOSITORY / "bench" / "results"


def add_material_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder of tokenizers/ and data/ (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for models, data and runs (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the table (default: %(default)s)")


def need(path: Path, what: str) -> Path:
    """The path, or SystemExit that says what is missing and what to do."""
    if not path.exists():
        raise SystemExit(f"{what} is not there: {path}\n  Give the folder that holds it: --assets FOLDER")
    return path


@contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """One benchmark at a time: two would share the folder and the cores. SystemExit where another is running.

    Ending the benchmark (SIGTERM) ends what it started.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"another benchmark is running in {work}; wait for it, or give another folder: --work FOLDER"
            ) from None
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
