"""Memory that a training frees is used again, on a CPU with an older glibc too: its caches of small blocks are off there.

Enters: this process as it was started. Leaves: the same command in the same process, started once more where that helps.

torch asks for blocks at addresses of 64 bytes. glibc cuts them out of larger ones and, before version 2.39, gave the corners to
those caches, so that a freed block was never whole again and no block of its own size fitted into it (glibc bug 30723). A
training of a model 512 wide held 874 MiB instead of 1,042 (LoRA), 886 instead of 1,233 (on 4 bits), in the same time.
The caches can be turned off at the start of a process alone, which is what glibc's own variable is for.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
MENDED = (2, 39)
M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 1 << 20


def glibc_version() -> tuple[int, int] | None:
    """(2, 36), say; None where another C library is in use."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (AttributeError, ValueError, OSError):  # Windows; macOS and musl
        return None
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) if name == "glibc" else None


def is_needed(version: tuple[int, int] | None, environment: Mapping[str, str]) -> bool:
    """Whether freed memory would lie idle; where the user tunes glibc, that is left as it is."""
    return version is not None and version < MENDED and VARIABLE not in environment


def give_back() -> None:
    """Freed pages go back to the system now, and blocks of LARGE bytes from now on as soon as they are freed.

    glibc by itself gives back the end of its heap alone. After a base on 4 bits of 610M parameters was cut in two, 148 MiB lay
    idle between what was kept; in training each gathered layer left a hole that activations settled in.
    """
    if glibc_version() is not None:
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
        library.malloc_trim(0)


def start_again() -> None:
    """The command of this process once more, before it has done anything, with TUNABLES; returns where there is no need."""
    if is_needed(glibc_version(), os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, VARIABLE: TUNABLES})
