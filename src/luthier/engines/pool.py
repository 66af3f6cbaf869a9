"""What a model makes of whole texts instead of what it says next: its last hidden states, for embeddings and scores.

Enters: token ids. Leaves: hidden states of every token, batch by batch, shorter texts padded on the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from luthier.engines.runner import Runner

BATCH_TOKENS = 8192
"""Tokens of one forward pass, padding included."""


def hidden_states(
    runner: Runner, prompts: Sequence[Sequence[int]], adapter: str | None = None
) -> Iterator[list[tuple[int, Tensor]]]:
    """Batches of (which prompt, its hidden states (T, H) float32). The runner has to be entered."""
    for numbers in _batches(prompts):
        longest = max(len(prompts[number]) for number in numbers)
        rows = [[*prompts[number], *[0] * (longest - len(prompts[number]))] for number in numbers]
        mask = [[1] * len(prompts[number]) + [0] * (longest - len(prompts[number])) for number in numbers]
        with torch.no_grad():
            hidden_BTH = runner.hidden(rows, mask, [adapter] * len(numbers))
        yield [(number, hidden_BTH[row, : len(prompts[number])].float()) for row, number in enumerate(numbers)]


def _batches(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    for number in sorted(range(len(prompts)), key=lambda number: -len(prompts[number])):
        if batch and (len(batch) + 1) * len(prompts[batch[0]]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
