"""Footprint, lengths and free memory -> Plan: what a training will need, and how its micro-batches are cut so that it fits.

Enters: numbers only. Leaves: a Plan. Never loads or moves a model; the figures are a forecast, the peak is measured in training.

At the peak, in the backward pass, are alive: the weights, the gradients made so far, the optimizer's state, what autograd kept of the
micro-batch, the buffers of the largest matrix product, and a chunk of logits (never the whole tokens x vocabulary matrix).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.planner.base import Plan
from luthier.runtime.files import size_text

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.planner.footprint import Footprint

OPTIMIZER_COPIES = {"adamw": 2.0, "adam": 2.0, "adagrad": 1.0, "rmsprop": 1.0, "sgd": 0.0, "adafactor": 0.01}
"""First part of `optim` -> values kept for each learning parameter."""
ENOUGH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Tokens at once beyond which a step gets no faster: on one core of an 8M-parameter model 128 tokens cost 0.91 ms each, 512
0.69 ms, 2,048 0.73 ms."""
FEW_TOKENS = {"cpu": 256, "cuda": 2048}
"""Below this, making activations again (gradient checkpointing) is better than fewer tokens at once."""
LIBRARIES = {"cpu": 600 << 20, "cuda": 700 << 20}
"""Bytes of Python, torch and transformers themselves (on a GPU: of its context)."""
USABLE = 0.85  # of the free memory: allocators need room
EFFICIENCY = {"cpu": 0.55, "cuda": 0.45}  # of the matrix rate that a whole training step reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the training runs. free_bytes: for everything it will hold, weights included; None if unknown.
    flops_per_second: of matrix products in the compute dtype; None if unknown."""

    kind: str
    free_bytes: int | None = None
    flops_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One optimizer step. lengths: tokens of every sample.  samples_per_step: on this device.  supervised: share of tokens learned.
    logits_chunk_bytes: the most float32 logits held at once.  autocast_bytes: size of a value in matrix products where that
    differs from the weights', else 0."""

    lengths: Sequence[int]
    samples_per_step: int
    supervised: float = 1.0
    logits_chunk_bytes: int = 96 << 20
    autocast_bytes: int = 0


def make_plan(config: Config, footprint: Footprint, work: Work, machine: Machine) -> Plan:
    """The largest useful micro-batch that fits, without gradient checkpointing where that leaves enough tokens at once."""
    longest = max(work.lengths, default=1)
    step_tokens = math.ceil(work.samples_per_step * sum(work.lengths) / max(1, len(work.lengths)))
    useful = max(longest, min(ENOUGH_TOKENS.get(machine.kind, 16384), step_tokens))
    budget = USABLE * machine.free_bytes if machine.free_bytes is not None else math.inf

    def needs(tokens: int, checkpointing: bool) -> dict[str, int]:
        return memory(
            config, footprint, work, machine.kind, tokens=tokens, step_tokens=step_tokens, checkpointing=checkpointing
        )

    def most(checkpointing: bool) -> int:
        """Tokens that fit, at least the longest sample (whether that fits or not)."""
        if config.micro_batch_tokens:
            return max(longest, config.micro_batch_tokens)
        tokens = useful
        while tokens > longest and sum(needs(tokens, checkpointing).values()) > budget:
            tokens = max(longest, tokens // 2)
        return tokens

    def fits(tokens: int, checkpointing: bool) -> bool:
        return sum(needs(tokens, checkpointing).values()) <= budget

    checkpointing = {"on": True, "off": False}.get(config.gradient_checkpointing)
    if checkpointing is None:
        plain = most(False)
        few = plain < min(useful, FEW_TOKENS.get(machine.kind, 2048))
        checkpointing = (few or not fits(plain, False)) and (fits(longest, True) or not fits(longest, False))
    tokens = most(checkpointing)
    parts = needs(tokens, checkpointing)
    known = machine.free_bytes is not None
    return Plan(
        micro_batch_tokens=tokens,
        gradient_checkpointing=checkpointing,
        memory=parts,
        step_s=step_seconds(footprint, work, machine, step_tokens, checkpointing),
        fits=fits(tokens, checkpointing) if known else None,
        note=""
        if not known or fits(tokens, checkpointing)
        else _too_large(sum(parts.values()), machine.free_bytes, longest, config),
    )


def memory(
    config: Config, footprint: Footprint, work: Work, kind: str, *, tokens: int, step_tokens: int, checkpointing: bool
) -> dict[str, int]:
    """Bytes at the peak by part, with that many tokens at once."""
    f = footprint
    value = work.autocast_bytes or max(1, round(f.weight_bytes / max(1, f.parameters)))
    layer = (f.kept - f.kept_checkpointed) / max(1, f.layers)
    kept = tokens * (f.kept_checkpointed + layer if checkpointing else f.kept)
    workspace = tokens * 2 * f.widest * value
    cast = work.autocast_bytes * f.linear if work.autocast_bytes else 0
    optimizer = OPTIMIZER_COPIES.get(str(config.optim).split("_")[0], 2.0) * f.trainable_bytes
    gradients = f.trainable_bytes
    if tokens >= step_tokens:  # one micro-batch a step: gradients grow as what was kept shrinks
        gradients = max(0, gradients - int(kept) // 2)
    logits = 4 * f.vocabulary * tokens * work.supervised
    chunks = min(logits, 2 * work.logits_chunk_bytes) + (4 * f.vocabulary * f.hidden if f.head_learns else 0)
    return {
        "weights": f.weight_bytes + cast,
        "gradients": int(gradients),
        "optimizer": int(optimizer),
        "activations": int(kept + workspace),
        "logits": int(chunks + 8 * f.hidden * tokens * work.supervised),
        "libraries": LIBRARIES.get(kind, 600 << 20),
    }


def step_flops(footprint: Footprint, work: Work, step_tokens: int, checkpointing: bool) -> float:
    """Floating point operations of one optimizer step (attention's products of queries and keys are not counted)."""
    f = footprint
    body = f.linear * (2 if checkpointing else 1) + f.needing_gradient + f.learning
    head = f.hidden * f.vocabulary * (4 if f.head_learns else 2)
    return 2.0 * step_tokens * (body + work.supervised * head)


def step_seconds(footprint: Footprint, work: Work, machine: Machine, step_tokens: int, checkpointing: bool) -> float | None:
    if not machine.flops_per_second:
        return None
    flops = step_flops(footprint, work, step_tokens, checkpointing)
    return flops / (machine.flops_per_second * EFFICIENCY.get(machine.kind, 0.45))


def _too_large(needed: int, free: int, longest: int, config: Config) -> str:
    cheaper = "finetuning_type: lora" if config.finetuning_type == "full" else "a smaller or quantised model"
    return (
        f"About {size_text(needed)} are needed and {size_text(free)} are free: this may run out of memory. "
        f"Lower cutoff_len (the longest sample has {longest:,} tokens), or use {cheaper}."
    )


def shares(parts: Mapping[str, int]) -> dict[str, str]:
    """For people: {"weights": "31.2 MB (12 %)", ...}."""
    total = max(1, sum(parts.values()))
    return {name: f"{size_text(size)} ({100 * size / total:.0f} %)" for name, size in parts.items()}
