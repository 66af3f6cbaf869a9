"""The peak of a process is its own, not that of the one that started it."""

import subprocess
import sys

import numpy as np
import torch

from luthier.trainer.memory import peak_memory_bytes

TOLD = """
import torch
from luthier.trainer.memory import peak_memory_bytes
before = peak_memory_bytes(torch.device("cpu"))
kept = torch.ones(30_000_000)
print(before, peak_memory_bytes(torch.device("cpu")))
"""


def test_what_a_process_held_is_told_without_what_its_parent_holds():
    held = np.ones(100_000_000)  # 800 MB, in this process
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < held.nbytes <= peak_memory_bytes(torch.device("cpu"))
    assert 110e6 < after - before < 300e6
