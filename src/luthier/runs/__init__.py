"""Runs: one job, one folder. What lies in such a folder is layout.py's to say, what a run does run.py's.

What enters: a Config and rows of numbers. What leaves: files, and answers about them to the command line, the page and the API.
It never imports torch and never deletes a file that Luthier did not write.
"""

from luthier.runs.known import find_run, known_runs
from luthier.runs.layout import WEIGHTS, output_folder, resolve_checkpoint, shown_path
from luthier.runs.rows import plain_number, read_rows
from luthier.runs.run import Run
from luthier.runs.status import LIVE

__all__ = [
    "LIVE",
    "WEIGHTS",
    "Run",
    "find_run",
    "known_runs",
    "output_folder",
    "plain_number",
    "read_rows",
    "resolve_checkpoint",
    "shown_path",
]
