"""The watch sees rows when they are written, memory when it is held, and ends what it started."""

import os
import sys
import time

import pytest
from bench.watch import watch

WRITER = """
import sys, time
kept = bytearray(80 * 2**20)
for step in range(3):
    time.sleep(0.3)
    with open(sys.argv[1], "a") as file:
        file.write('{"current_steps": %d}\\n' % (step + 1))
time.sleep(float(sys.argv[2]))
"""


def test_rows_are_timed_and_memory_is_seen(tmp_path):
    log = tmp_path / "log.jsonl"
    watched = watch([sys.executable, "-c", WRITER, log, "0"], log=log, output=tmp_path / "out.txt", env=os.environ)
    assert [row["current_steps"] for row in watched.rows] == [1, 2, 3]
    gaps = [b - a for a, b in zip(watched.row_times, watched.row_times[1:])]
    assert min(gaps) > 0.2 and watched.wall_s >= watched.row_times[-1] - 0.1
    assert watched.peak_bytes > 80 * 2**20


def test_it_ends_the_command_at_the_row_asked_for(tmp_path):
    log = tmp_path / "log.jsonl"
    start = time.time()
    command = [sys.executable, "-c", WRITER, log, "60"]
    watched = watch(command, log=log, output=tmp_path / "out.txt", env=os.environ, stop_at_row=1)
    assert watched.returncode == 0 and len(watched.rows) >= 1 and time.time() - start < 30


def test_a_failing_command_shows_its_last_words(tmp_path):
    with pytest.raises(SystemExit, match="no such model"):
        watch([sys.executable, "-c", "raise SystemExit('no such model')"], output=tmp_path / "out.txt", env=os.environ)
