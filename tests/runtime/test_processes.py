"""A process number alone does not say whether it is the same process."""

import os
import subprocess
import sys

import psutil

from luthier.runtime.processes import find_process, is_alive, kill_family, this_process


def test_this_process_is_alive_and_an_earlier_owner_of_its_number_is_not() -> None:
    me = this_process()
    assert is_alive(me["pid"], me["pid_started"], me["host"])
    assert is_alive(me["pid"], me["pid_started"] - 100, me["host"]) is False
    assert is_alive(me["pid"], me["pid_started"], "another-machine") is None
    assert find_process(None, None) is None


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not yet collected
    try:
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert is_alive(child.pid, None, None) is False
    finally:
        child.wait()


def test_a_killed_process_takes_its_children_along() -> None:
    script = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        family = [find_process(number, None) for number in (parent.pid, child)]
        assert all(family)
        kill_family(family[0])
        assert not any(find_process(member.pid, None) for member in family)
