"""Where words go: to the terminal (stderr) as a person likes them, and to the run's log.txt with time and level.

What enters: messages of the loggers under "luthier". What leaves: lines. There is no state here but the handlers that
Python's logging keeps; stdout stays free for results.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.runtime.files import disk_errors

if TYPE_CHECKING:
    from rich.console import Console

ROOT = "luthier"
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m", logging.DEBUG: "\x1b[2m"}
FILE_ONLY = {"file_only": True}
"""log.info("...", extra=FILE_ONLY): for log.txt, where the terminal shows the same in another form (a progress bar)."""


class ConsoleHandler(logging.Handler):
    """Plain sentences on stderr; warnings and errors say so, in colour on a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "file_only", False):
            return
        try:
            stream = sys.stderr  # looked up each time: a live progress bar puts itself before it
            text = record.getMessage()
            if record.levelno >= logging.WARNING:
                text = f"{record.levelname.lower()}: {text}"
            colour = COLOURS.get(record.levelno, "") if stream.isatty() else ""
            stream.write(f"{colour}{text}\x1b[0m\n" if colour else f"{text}\n")
            stream.flush()
        except Exception:
            self.handleError(record)


def setup_logging(level: str = "INFO") -> None:
    """Send Luthier's messages of this level and above to the terminal. Calling it again changes the level."""
    logger = logging.getLogger(ROOT)
    for handler in list(logger.handlers):
        if isinstance(handler, ConsoleHandler):
            logger.removeHandler(handler)
    logger.addHandler(ConsoleHandler())
    logger.setLevel(level)
    logger.propagate = False  # a library that configures the root logger would say everything twice


def console() -> Console:
    """The one rich console of this process, on stderr."""
    for handler in logging.getLogger(ROOT).handlers:
        if isinstance(handler, ConsoleHandler):
            return handler.console
    return ConsoleHandler().console


def is_quiet() -> bool:
    """Whether -q was given: progress and explanations are left out, results and warnings are not."""
    return not logging.getLogger(ROOT).isEnabledFor(logging.INFO)


@contextmanager
def log_to_file(file: Path) -> Iterator[None]:
    """Also write every message to file, appended, while the block runs. Where stderr is that very file already (a detached
    run), nothing is added, so that no line stands there twice."""
    if _is_stderr(file):
        yield
        return
    with disk_errors(file, 0):
        handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger(ROOT)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _is_stderr(file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(2), file.stat())
    except OSError:
        return False
