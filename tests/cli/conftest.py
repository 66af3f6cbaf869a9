"""The command line as a user meets it: in a process of its own, in an empty folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FAKE_TRAINING = Path(__file__).parent / "fake_training"
"""A folder whose sitecustomize.py puts a slow fake in the place of the training workflow, in this process and its children."""

Luthier = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def luthier(tmp_path: Path) -> Luthier:
    """luthier("runs", "list") -> what it printed and its exit code. fake_training: see above."""

    def call(*words: object, cwd: Path = tmp_path, fake_training: bool = False) -> subprocess.CompletedProcess[str]:
        environment = os.environ | ({"PYTHONPATH": str(FAKE_TRAINING)} if fake_training else {})
        argv = [sys.executable, "-m", "luthier", *map(str, words)]
        return subprocess.run(
            argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )

    return call
