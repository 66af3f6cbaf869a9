"""Files are read in another process: a reader that hangs, eats memory or crashes costs one file, never the command.

Enters: a path, the name that its user knows, options. Leaves: Parsed, or DataError that names the file. The process is kept for
the next file, so that a folder of small files starts Python once.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from luthier.documents.base import Parsed
from luthier.errors import DataError

POLL_S = 0.1
MODULE = "luthier.documents.readers.worker"
CAN_LIMIT = sys.platform.startswith("linux")


class Sandbox:
    """timeout_s, memory_mb: of each file. A context manager; the process ends with it."""

    def __init__(self, timeout_s: float = 120, memory_mb: int = 2048):
        self.timeout_s, self.memory_mb = timeout_s, memory_mb
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._folder = tempfile.TemporaryDirectory(prefix="luthier-read-")

    def read(self, path: Path, name: str, options: Mapping[str, Any] | None = None, timeout_s: float | None = None) -> Parsed:
        """timeout_s: another limit for this file. Raises DataError naming it: broken, too slow, too large, or the reader
        crashed on it."""
        folder = Path(self._folder.name)
        seen, out = folder / Path(name).name, folder / "text"
        try:
            _link(path, seen)
            asked = {"path": str(seen), "name": name, "options": dict(options or {}), "out": str(out)}
            answer = self._ask(name, asked, timeout_s or self.timeout_s)
            if "message" in answer:
                raise DataError(answer["message"], answer["remedy"])
            text = out.read_bytes().decode("utf-8", "surrogatepass")
        finally:
            seen.unlink(missing_ok=True)
            out.unlink(missing_ok=True)
        answer["pages"] = tuple((start, page) for start, page in answer["pages"])
        return Parsed(**(answer | {"text": text, "notes": tuple(answer["notes"])}))

    def _ask(self, name: str, asked: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        process = self._start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(queue.Empty):
                if line := self._answers.get(timeout=POLL_S):
                    return json.loads(line)
                raise self._died(name, process)
            if time.monotonic() > deadline:
                self._stop()
                raise DataError(f"{name} was not read within {timeout_s:g} s.", "Raise parse.timeout_s, or split the file.")
            if not CAN_LIMIT and _used_mb(process.pid) > self.memory_mb:
                self._stop()
                raise DataError(f"{name} needs more than {self.memory_mb} MB.", "Raise parse.memory_mb, or split the file.")

    def _died(self, name: str, process: subprocess.Popen[str]) -> DataError:
        code = process.wait(timeout=10)
        self._stop()
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return DataError(
            f"the reader crashed on {name} ({why}); too little memory may be the reason.",
            "Raise parse.memory_mb, or save the file again.",
        )

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(self.memory_mb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            self._answers = queue.Queue()
            threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self._folder.cleanup()


def _listen(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put("")  # the process is gone


def _link(path: Path, seen: Path) -> None:
    seen.unlink(missing_ok=True)
    try:
        os.link(path, seen)
    except OSError:  # another disk
        shutil.copyfile(path, seen)


def _used_mb(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).memory_info().rss / (1 << 20)
    return 0.0
