"""Footprint, lengths and free memory -> Plan: what a training will need, and how its micro-batches are cut so that it fits.

Enters: numbers only. Leaves: a Plan. Never loads a model; the figures are a forecast, the peak is measured in training.

At the peak, in the backward pass, are alive: the weights, the gradients made so far, the optimizer's state, what autograd kept
of the micro-batch, the buffers of the largest matrix product, and a chunk of logits (never all tokens x vocabulary).
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
"""Tokens at once beyond which a step gets no faster: an 8M-parameter model on one core takes 0.91 ms a token with 128 at once,
0.69 ms with 512, 0.73 ms with 2,048."""
FEW_TOKENS = {"cpu": 256, "cuda": 2048}
"""Below this, making activations again (gradient checkpointing) is better than fewer tokens at once."""
HOLES = {"cpu": 3.0, "cuda": 0.5}
"""What an allocator holds beyond what is alive, in layers' worth of activations: measured on glibc, 4 to 8 layers,
hidden size 256 and 512, 512 to 2,048 tokens, with or without checkpointing (1 to 6 layers' worth)."""
FIRST_USE_BYTES = {"cpu": 60 << 20, "cuda": 0}
"""Code and buffers of the libraries that only a first training step brings into memory."""
PAIR_SECONDS = {"cpu": 18e-9, "cuda": 0.0}
"""What a head needs on one core for the softmax of one pair of tokens and its gradient, its products not counted: measured with
8 heads of 8 to 64 values and 512 to 2,048 tokens."""
USABLE = 0.85  # of the free memory: allocators need room
EFFICIENCY = {"cpu": 0.55, "cuda": 0.45}  # of the matrix rate that a whole training step reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the training runs. free_bytes: for all that the training will hold, weights included; None if unknown.
    library_bytes: what Python and its libraries hold themselves.  flops_per_second: of matrix products; None if unknown.
    threads: of the CPU that compute at once."""

    kind: str
    free_bytes: int | None = None
    library_bytes: int = 0
    flops_per_second: float | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One optimizer step on this device. longest: tokens of the longest sample.  step_tokens: of the whole step.
    pairs: of a token and one that it sees, in the whole step: the sum of L (L + 1) / 2 over samples of L tokens.
    supervised: share of the tokens that is learned.  logits_chunk_bytes: the most float32 logits held at once.
    autocast_bytes: size of a value in matrix products where that differs from the weights', else 0."""

    longest: int
    step_tokens: int
    pairs: float = 0.0
    supervised: float = 1.0
    logits_chunk_bytes: int = 96 << 20
    autocast_bytes: int = 0


def make_plan(config: Config, footprint: Footprint, work: Work, machine: Machine) -> Plan:
    """The largest useful micro-batch that fits, without gradient checkpointing where that leaves enough tokens at once."""
    free = machine.free_bytes
    budget = math.inf if free is None else USABLE * free

    def peak(tokens: int, checkpointing: bool) -> int:
        return sum(memory(config, footprint, work, machine, tokens=tokens, checkpointing=checkpointing).values())

    useful = max(work.longest, min(ENOUGH_TOKENS.get(machine.kind, 16384), work.step_tokens))
    most = {checkpointing: _most_tokens(config, work, useful, checkpointing, peak, budget) for checkpointing in (False, True)}
    checkpointing = {"on": True, "off": False}.get(config.gradient_checkpointing)
    if checkpointing is None:
        enough = most[False] >= min(useful, FEW_TOKENS.get(machine.kind, 2048))
        checkpointing = not (enough and peak(most[False], False) <= budget)
    tokens = most[checkpointing]
    parts = memory(config, footprint, work, machine, tokens=tokens, checkpointing=checkpointing)
    fits = None if free is None else sum(parts.values()) <= budget
    return Plan(
        micro_batch_tokens=tokens,
        gradient_checkpointing=checkpointing,
        memory=parts,
        step_s=step_seconds(footprint, work, machine, checkpointing),
        fits=fits,
        note=_too_large(sum(parts.values()), free, work, config) if fits is False else "",
    )


def _most_tokens(
    config: Config, work: Work, useful: int, checkpointing: bool, peak: Callable[[int, bool], int], budget: float
) -> int:
    """Tokens at once that fit: halved from what is useful, but never less than the longest sample."""
    if config.micro_batch_tokens:
        return max(work.longest, config.micro_batch_tokens)
    tokens = useful
    while tokens > work.longest and peak(tokens, checkpointing) > budget:
        tokens = max(work.longest, tokens // 2)
    return tokens


def memory(
    config: Config, footprint: Footprint, work: Work, machine: Machine, *, tokens: int, checkpointing: bool
) -> dict[str, int]:
    """Bytes at the peak by part, with that many tokens at once."""
    f = footprint
    value = work.autocast_bytes or max(1, round(f.weight_bytes / max(1, f.parameters)))
    one_layer = (f.kept - f.kept_checkpointed) / max(1, f.layers)
    kept = tokens * (f.kept_checkpointed + one_layer if checkpointing else f.kept)
    workspace = tokens * 2 * f.widest * value
    learned = tokens * work.supervised
    chunk = min(4 * f.vocabulary * learned, 2 * work.logits_chunk_bytes)  # the next chunk is made while the last one is held
    head_gradient = 4 * f.vocabulary * f.hidden if f.head_learns else 0
    gradients = f.trainable_bytes
    if tokens >= work.step_tokens:  # one micro-batch a step: gradients grow while what was kept shrinks
        gradients = max(0, gradients - int(kept) // 2)
    return {
        "weights": f.weight_bytes + work.autocast_bytes * f.linear,
        "gradients": gradients,
        "optimizer": int(OPTIMIZER_COPIES.get(str(config.optim).split("_")[0], 2.0) * f.trainable_bytes),
        "activations": int(kept + workspace),
        "logits": int(chunk + head_gradient + 8 * f.hidden * learned),
        "allocator": int(HOLES.get(machine.kind, 0.5) * tokens * one_layer),
        "libraries": machine.library_bytes + FIRST_USE_BYTES.get(machine.kind, 0),
    }


def step_flops(footprint: Footprint, work: Work, checkpointing: bool) -> float:
    """Floating point operations of one optimizer step. Attention: two products forward, five backward (Dao 2023,
    arXiv:2307.08691, section 3.1)."""
    f = footprint
    body = f.linear * (2 if checkpointing else 1) + f.needing_gradient + f.learning
    head = f.hidden * f.vocabulary * (4 if f.head_learns else 2)
    attention = work.pairs * f.heads * f.head_size * (9 if checkpointing else 7)
    return 2.0 * (work.step_tokens * (body + work.supervised * head) + attention)


def step_seconds(footprint: Footprint, work: Work, machine: Machine, checkpointing: bool) -> float | None:
    """Seconds of one optimizer step; None where the machine's speed is not known."""
    if not machine.flops_per_second:
        return None
    products = step_flops(footprint, work, checkpointing) / (machine.flops_per_second * EFFICIENCY.get(machine.kind, 0.45))
    return products + work.pairs * footprint.heads * PAIR_SECONDS.get(machine.kind, 0.0) / machine.threads


def _too_large(needed: int, free: int, work: Work, config: Config) -> str:
    cheaper = "finetuning_type: lora" if config.finetuning_type == "full" else "a smaller model"
    return (
        f"About {size_text(needed)} are needed and {size_text(free)} are free: this may run out of memory. "
        f"Lower cutoff_len (the longest sample has {work.longest:,} tokens), or use {cheaper}."
    )
