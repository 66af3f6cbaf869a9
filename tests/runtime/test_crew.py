"""How many processes there are, and what becomes of those that stay when another dies."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.runtime.crew import Places, places

HANGING = """
import sys, time
from luthier.runtime import crew

crew.GRACE_S = 0.5
with crew.Crew(crew.Places(per_machine=2), [sys.executable, "-c", sys.argv[1]]) as others:
    others.last_words = lambda reason: print("said:", reason, flush=True)
    print("waiting", flush=True)
    time.sleep(120)  # as in a library that waits for a partner
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_a_cpu_is_one_process_unless_told_otherwise(monkeypatch):
    assert places(Config(use_cpu=True)) == Places()
    assert places(Config(use_cpu=True, nproc_per_node=3)).per_machine == 3
    monkeypatch.setenv("NPROC_PER_NODE", "4")
    assert places(Config(use_cpu=True)).per_machine == 4
    assert places(Config(use_cpu=True, nproc_per_node=2)).per_machine == 2  # the key wins


def test_several_machines_meet_at_the_first(monkeypatch):
    monkeypatch.setenv("NNODES", "2")
    with pytest.raises(ConfigError, match="no machine is named to meet at"):
        places(Config(use_cpu=True))
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    expected = Places(per_machine=1, machines=2, machine=1, address="10.0.0.1", port=29500)
    assert places(Config(use_cpu=True, node_rank=1)) == expected
    with pytest.raises(ConfigError, match="node_rank is 2, but there are 2 machines"):
        places(Config(use_cpu=True, node_rank=2))


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("NPROC_PER_NODE", "gpu")
    with pytest.raises(ConfigError, match="NPROC_PER_NODE is gpu"):
        places(Config(use_cpu=True))


def test_who_waits_for_a_dead_partner_is_ended():
    words = [sys.executable, "-c", HANGING, "print('no memory'); raise SystemExit(7)"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "said: process 1 of 2 of this training ended with exit code 7" in done.stdout and "no memory" in done.stdout


def test_partners_of_a_killed_process_end():
    member = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", HANGING, member]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    (child,) = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    end = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
