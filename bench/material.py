"""Where the benchmarks find what they need: the repository, the real test material, a work folder.

Enters: command-line options. Leaves: paths. Never copies material into the repository (the work folder is ignored by git).
"""

from __future__ import annotations

import argparse
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
