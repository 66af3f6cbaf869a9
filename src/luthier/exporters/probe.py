"""What a model says to a few fixed prompts, to be compared with what its exported copy says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from luthier.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCES = {torch.float32: 2e-4, torch.float16: 0.02, torch.bfloat16: 0.15}
"""Largest difference of a log-probability, relative to 1 + its size, that rounding every weight to this format explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """prompts: token ids.  logits: float32 (tokens, V) of each prompt, on the CPU."""

    prompts: tuple[tuple[int, ...], ...]
    logits: tuple[Tensor, ...]


@torch.no_grad()
def ask(model: nn.Module, prompts: Sequence[Sequence[int]]) -> Probe:
    """The model's logits for each prompt."""
    model.eval()
    device = next(model.parameters()).device
    logits = [
        model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0].float().cpu() for ids in prompts
    ]
    return Probe(prompts=tuple(tuple(ids) for ids in prompts), logits=tuple(logits))


def compare(expected: Probe, found: Probe, tolerance: float | None, folder: Path) -> Mapping[str, float]:
    """The largest difference of logits and of log-probabilities, how often the likeliest token is the same, and the mean KL.

    Raises ExportError where a log-probability differs by more than tolerance (None: anything goes) relative to 1 + its size.
    """
    logit = max(float((a - b).abs().max()) for a, b in zip(expected.logits, found.logits, strict=True))
    worst, nats, same, count = 0.0, 0.0, 0, 0
    for a, b in zip(expected.logits, found.logits, strict=True):
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        likely = p > p.amax(-1, keepdim=True) - 10  # what is e^10 times less likely than the best is noise
        worst = max(worst, float(((p - q).abs() / (1 + p.abs()))[likely].max()))
        nats += float((p.exp() * (p - q)).sum())
        same += int((a.argmax(-1) == b.argmax(-1)).sum())
        count += len(a)
    report = {"max_logit_difference": logit, "max_relative_logp_difference": worst}
    report |= {"same_likeliest_token": same / count, "kl_divergence": max(0.0, nats / count)}
    if tolerance is not None and not worst <= tolerance:
        raise ExportError(
            f"{folder}: the exported model differs from the trained one: a log-probability by {worst:.4g} relative, "
            f"more than the {tolerance:g} that its number format explains.",
            "Export in float32, or set export_verify: off if you know why.",
        )
    return report
