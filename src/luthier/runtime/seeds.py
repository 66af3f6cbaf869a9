"""One seed for every random number generator that a run uses: Python, numpy, torch, each accelerator."""

from __future__ import annotations

import random


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seed all generators. seed: 0 to 2**32 - 1.

    deterministic: also choose kernels that give the same bits every time, where a device has faster ones that do not.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # the CPU's and every accelerator's
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
