"""Is that process, the very one, still alive? A number alone does not say: process numbers are used again.

What enters: a process number and when that process began. What leaves: yes or no. It never signals anything by itself
but in kill_family.
"""

import os
import platform
from contextlib import suppress

import psutil

CLOCK_TOLERANCE_S = 5.0
"""The start time of a process is derived from the wall clock, which may be set while the process runs."""


def this_process() -> dict[str, object]:
    """What to write down about this process so that is_alive can find it again."""
    return {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "host": platform.node()}


def find_process(pid: int | None, started: float | None) -> psutil.Process | None:
    """The process of that number if it is the one that began at started (seconds since 1970), else None."""
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if started is not None and abs(process.create_time() - started) > CLOCK_TOLERANCE_S:
            return None
    except psutil.Error:
        return None
    return process


def is_alive(pid: int | None, started: float | None, host: str | None) -> bool | None:
    """None when the process belongs to another machine, where we cannot look."""
    if host and host != platform.node():
        return None
    return find_process(pid, started) is not None


def kill_family(process: psutil.Process) -> None:
    """Kill a process and its children, and wait until they are gone."""
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)
