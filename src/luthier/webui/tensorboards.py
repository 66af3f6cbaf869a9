"""TensorBoard processes that were asked for: one a run, on this machine alone, ended with the web process.

Enters: a folder of events.  Leaves: an address that answers.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

from luthier.errors import LuthierError

PATIENCE_S = 30.0


class TensorBoards:
    """folder -> its process and port."""

    def __init__(self) -> None:
        self._running: dict[Path, tuple[subprocess.Popen[bytes], int]] = {}

    async def open(self, folder: Path) -> str:
        """The address. Raises LuthierError where it does not come up."""
        process, port = self._running.get(folder, (None, 0))
        if process is None or process.poll() is not None:
            port = _free_port()
            argv = [
                sys.executable,
                "-m",
                "tensorboard.main",
                "--logdir",
                str(folder),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ]
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
            self._running[folder] = process, port
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.3)
                continue
            writer.close()
            return f"http://127.0.0.1:{port}/"
        raise LuthierError("TensorBoard does not start.", f"Try it by hand: tensorboard --logdir {folder}")

    def close(self) -> None:
        """End them all."""
        for process, _ in self._running.values():
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
