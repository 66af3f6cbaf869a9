"""One seed for every random number generator that a run uses: Python, numpy, torch, each accelerator."""

from __future__ import annotations

import random


def seed_everything(seed: int) -> None:
    """Seed all generators. seed: 0 to 2**32 - 1."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # the CPU's and every accelerator's
