"""A training is started once more where glibc would leave freed memory idle: once, in the same process, only where it helps."""

import os
import platform
import subprocess
import sys

import pytest

from luthier.runtime.allocator import MENDED, TUNABLES, VARIABLE, glibc_version, is_needed

SAYS = (
    "import os; from luthier.runtime.allocator import start_again; n = os.getpid(); start_again(); print(n, os.environ[{!r}])"
)


def test_the_version_is_the_one_that_python_finds_in_its_own_file():
    name, version = platform.libc_ver()
    if name != "glibc":
        pytest.skip("another C library")
    assert glibc_version() == tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    ("version", "environment", "needed"),
    [
        ((2, 36), {}, True),
        (MENDED, {}, False),
        (None, {}, False),
        ((2, 36), {VARIABLE: "glibc.malloc.check=3"}, False),
    ],
)
def test_only_an_older_glibc_that_nobody_tunes_needs_it(version, environment, needed):
    assert is_needed(version, environment) is needed


@pytest.mark.skipif(not is_needed(glibc_version(), {}), reason="this C library has no need")
def test_the_same_command_in_the_same_process_and_only_once():
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    process = subprocess.Popen([sys.executable, "-c", SAYS.format(VARIABLE)], env=clean, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert said.split() == [str(process.pid), TUNABLES]


@pytest.mark.skipif(glibc_version() is None, reason="another C library")
def test_what_is_free_between_what_is_kept_goes_back():
    """1,000 blocks of 100 KB, of which each hundredth is kept: nearly all of 100 MB."""
    code = """
import psutil
from luthier.runtime.allocator import give_back
blocks = [bytearray(100_000) for _ in range(1000)]
kept = blocks[::100]
del blocks
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50 << 20
