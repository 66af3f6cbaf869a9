"""Random token rows for the GPU benchmark: the same for both sides.

full   every sample has exactly `length` tokens and learns all of them: the setting of published figures
chat   lengths as in chat data (log-normal, median 300), the last three quarters of each learned
"""

from __future__ import annotations

import numpy as np

from bench.tokens import IGNORE, TokenRow


def random_rows(kind: str, count: int, length: int, vocabulary: int, seed: int = 0) -> list[TokenRow]:
    """`count` samples of `length` tokens at the most."""
    generator = np.random.Generator(np.random.PCG64(seed))
    if kind == "full":
        lengths = np.full(count, length)
    else:
        lengths = np.clip(generator.lognormal(np.log(min(300, length / 4)), 0.9, count).astype(int), min(16, length), length)
    rows = []
    for tokens in lengths:
        ids = generator.integers(0, vocabulary, tokens).tolist()
        unlearned = 0 if kind == "full" else tokens // 4
        rows.append(TokenRow(input_ids=ids, labels=[IGNORE] * unlearned + ids[unlearned:]))
    return rows
