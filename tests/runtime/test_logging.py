"""Where words go."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.runtime.logging import FILE_ONLY, ConsoleHandler, is_quiet, log_to_file, setup_logging

log = logging.getLogger("luthier.test")


@pytest.fixture(autouse=True)
def restored():
    logger = logging.getLogger("luthier")
    before, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:], logger.level = before, level
    logger.setLevel(level)


def test_console_says_warnings_are_warnings_and_stdout_stays_free(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    log.info("hello %s", "world")
    log.warning("careful")
    log.info("a line that a bar shows already", extra=FILE_ONLY)
    captured = capsys.readouterr()
    assert captured.err == "hello world\nwarning: careful\n" and captured.out == ""


def test_quiet_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("WARNING")
    assert is_quiet()
    log.info("hello")
    log.warning("careful")
    assert capsys.readouterr().err == "warning: careful\n"
    setup_logging("INFO")
    assert not is_quiet()
    assert sum(isinstance(handler, ConsoleHandler) for handler in logging.getLogger("luthier").handlers) == 1


def test_log_to_file_has_everything_while_the_block_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    file = tmp_path / "log.txt"
    with log_to_file(file):
        log.info("inside", extra=FILE_ONLY)
        log.warning("careful")
    log.info("outside")
    lines = file.read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO inside", "WARNING careful"]


def test_a_log_that_is_stderr_already_gets_each_line_once(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    code = (
        "import logging, pathlib, sys; from luthier.runtime.logging import *; setup_logging()\n"
        "with log_to_file(pathlib.Path(sys.argv[1])): logging.getLogger('luthier.x').info('once')"
    )
    with file.open("ab") as output:
        subprocess.run([sys.executable, "-c", code, str(file)], stderr=output, check=True, timeout=60)
    assert file.read_text() == "once\n"
