"""Run a command and watch it from outside: when each row of its log reached the disk, what CPU time and memory it took.

Enters: a command and the file to which it appends one JSON row a step. Leaves: Watched. The same clock and the same meter
for every side. Never reaches into the process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

POLL_S = 0.02
MEMORY_EVERY = 5
"""The log is looked at every POLL_S, memory every MEMORY_EVERY polls."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """wall_s: start to end.  row_times: seconds from start at which each row of the log appeared.  row_cpu_s: CPU seconds that
    the process tree had used by then.  peak_bytes: resident memory of the process tree at its highest (pages that two processes
    share count twice).  high_water_bytes: of the first process alone, as the kernel saw it.  held_bytes: the most that
    it held but for pages of files, which the kernel takes away and gives back; those that `counted` names are in."""

    returncode: int
    wall_s: float
    peak_bytes: int
    high_water_bytes: int = 0
    held_bytes: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    row_times: list[float] = field(default_factory=list)
    row_cpu_s: list[float] = field(default_factory=list)


def watch(
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    output: Path,
    env: Mapping[str, str],
    stop_at_row: int | None = None,
    timeout_s: float = 7200,
    counted: str = "",
) -> Watched:
    """log: the JSONL file to follow (made by the command; must not exist).  output: file that receives stdout and stderr.

    counted: files whose names end so are memory that the command holds where it maps them (weights); looking costs some time.
    stop_at_row: end the command when the log has so many rows (its returncode is then 0). SystemExit with the end of the
    output where the command fails or takes longer than timeout_s.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    stopped = False
    with output.open("wb") as sink:
        start = time.time()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=sink, stderr=subprocess.STDOUT, env=dict(env), start_new_session=True
        )
        meter = _Meter(process.pid, counted)
        tail = _Tail(log, start, meter)
        polls = 0
        try:
            while process.poll() is None and not stopped:
                tail.look()
                meter.glance()
                if polls % MEMORY_EVERY == 0:
                    meter.look()
                polls += 1
                if time.time() - start > timeout_s:
                    raise SystemExit(f"{command[0]} took longer than {timeout_s:.0f} s; its output is in {output}")
                stopped = stop_at_row is not None and len(tail.rows) >= stop_at_row
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                _end(process)
        wall_s = time.time() - start
    tail.look()
    if process.returncode != 0 and not stopped:
        end = output.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(map(str, command))}\nended with code {process.returncode}:\n{end}")
    return Watched(
        returncode=0 if stopped else process.returncode,
        wall_s=wall_s,
        peak_bytes=meter.peak,
        high_water_bytes=meter.high_water,
        held_bytes=meter.held,
        rows=tail.rows,
        row_times=tail.times,
        row_cpu_s=tail.cpu_s,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group that watch started, and no other."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Tail:
    """Complete lines of a growing file, each with the time at which the file was last written when it was first seen."""

    def __init__(self, path: Path | None, start: float, meter: _Meter):
        self._path, self._start, self._meter, self._at = path, start, meter, 0
        self._rest = b""
        self.rows: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.cpu_s: list[float] = []

    def look(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        stat = self._path.stat()
        if stat.st_size <= self._at:
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        self._meter.look()
        for line in lines:
            self.rows.append(json.loads(line))
            self.times.append(stat.st_mtime - self._start)
            self.cpu_s.append(self._meter.cpu_s)


class _Meter:
    """Memory and CPU time of a process and its children. peak: of their resident memory's sum, and of the first process's own
    high-water mark.  held: of the first process, without files but those counted.  cpu_s: CPU seconds of those that live."""

    def __init__(self, pid: int, counted: str = ""):
        self._root = psutil.Process(pid)
        self._folder = Path("/proc") / str(pid)
        self._counted, self._mapped = counted, 0
        self.peak = 0
        self.high_water = 0
        self.held = 0
        self.cpu_s = 0.0

    def look(self) -> None:
        try:
            tree = [self._root, *self._root.children(recursive=True)]
            total, cpu_s = 0, 0.0
            for process in tree:
                try:
                    total += process.memory_info().rss
                    cpu_s += sum(process.cpu_times()[:2])  # user and system
                except psutil.Error:  # it ended between the two calls
                    continue
            self._mapped = self._of_files() if self._counted else 0
            self.glance()
            self.peak = max(self.peak, total, self.high_water)
            self.cpu_s = max(self.cpu_s, cpu_s)
        except psutil.Error:
            return

    def glance(self) -> None:
        """Only what the kernel writes down of the first process: cheap enough for every poll."""
        try:
            lines = (self._folder / "status").read_text().splitlines()
        except OSError:
            return
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmHWM", "RssAnon"))}
        self.high_water = max(self.high_water, sizes.get("VmHWM", 0))
        self.held = max(self.held, sizes.get("RssAnon", 0) + self._mapped)

    def _of_files(self) -> int:
        """Bytes of the counted files that are in memory as they are in the file."""
        found, inside = 0, False
        try:
            with (self._folder / "smaps").open() as file:
                for line in file:
                    word, _, rest = line.partition(" ")
                    if not word.endswith(":"):
                        inside = line.rstrip().endswith(self._counted)
                    elif inside and word in ("Rss:", "Anonymous:"):
                        found += (1 if word == "Rss:" else -1) * int(rest.split()[0]) * 1024
        except OSError:  # it has ended
            return self._mapped
        return found
