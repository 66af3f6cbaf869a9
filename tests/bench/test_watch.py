"""The watch sees rows when they are written, memory when it is held, and ends what it started."""

import os
import sys
import time

import psutil
import pytest
from bench.material import alone_in
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
    assert 0 < watched.row_cpu_s[0] <= watched.row_cpu_s[-1] < watched.wall_s


def test_it_ends_the_command_at_the_row_asked_for(tmp_path):
    log = tmp_path / "log.jsonl"
    start = time.time()
    command = [sys.executable, "-c", WRITER, log, "60"]
    watched = watch(command, log=log, output=tmp_path / "out.txt", env=os.environ, stop_at_row=1)
    assert watched.returncode == 0 and len(watched.rows) >= 1 and time.time() - start < 30


def test_a_failing_command_shows_its_last_words(tmp_path):
    with pytest.raises(SystemExit, match="no such model"):
        watch([sys.executable, "-c", "raise SystemExit('no such model')"], output=tmp_path / "out.txt", env=os.environ)


def test_a_second_benchmark_in_the_same_folder_is_refused(tmp_path):
    with alone_in(tmp_path), pytest.raises(SystemExit, match="another benchmark is running"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_nothing_is_left_running_where_the_watch_is_ended(tmp_path):
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(SystemExit, match="took longer"):
        watch([sys.executable, "-c", child], output=tmp_path / "out.txt", env=os.environ, timeout_s=1.5)
    assert not psutil.pid_exists(int(pid_file.read_text()))
