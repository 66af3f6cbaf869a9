"""The command line as a user meets it: in a process of its own, in an empty folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FAKE_TRAINING = Path(__file__).parent / "fake_training"
"""A folder whose sitecustomize.py puts a slow fake in the place of the training workflow, in this process and its children."""


def with_fake_training() -> dict[str, str]:
    """The environment in which the fake is found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(FAKE_TRAINING), os.environ.get("PYTHONPATH", "")])}


Luthier = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def luthier(tmp_path: Path) -> Luthier:
    """luthier("runs", "list") -> what it printed and its exit code. fake_training: see above."""

    def call(*words: object, cwd: Path = tmp_path, fake_training: bool = False) -> subprocess.CompletedProcess[str]:
        environment = with_fake_training() if fake_training else None
        argv = [sys.executable, "-m", "luthier", *map(str, words)]
        return subprocess.run(
            argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL
        )

    return call
