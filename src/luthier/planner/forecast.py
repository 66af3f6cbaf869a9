"""Footprint, lengths and free memory -> Plan: what a training will need, and how its micro-batches are cut so that it fits.

Enters: numbers only. Leaves: a Plan. Never loads a model; the figures are a forecast, the peak is measured in training.

These moments compete for the peak, besides weights, optimizer state and other models:
    the loss     all that autograd kept, a chunk of logits (never all tokens x vocabulary), the gradient of a head that learns
    the layers   all that was kept, buffers of the largest matrix product; under gradient checkpointing one layer made again
    the end      all gradients, and that of the embeddings once more before it is added
and, where answers are drawn, the cache of generation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from luthier.planner.base import Plan
from luthier.runtime.files import size_text

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.planner.footprint import Footprint

ENOUGH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Tokens at once beyond which a step gets no faster: an 8M-parameter model on one core takes 0.91 ms a token with 128 at once,
0.69 ms with 512, 0.73 ms with 2,048."""
FEW_TOKENS = {"cpu": 256, "cuda": 2048}
"""Below this, making activations again (gradient checkpointing) is better than fewer tokens at once."""
UNFUSED_COPIES = 3
"""Float32 matrices of tokens x tokens, one a head, that attention spelled out needs in its backward pass for itself."""
HOLES = {"cpu": 1.5, "cuda": 0.5}
"""What an allocator holds beyond what is alive, in layers' worth of activations: bench/forecast.py finds 0 to 2.5 with glibc as
runtime/allocator.py sets it (7.5 before). With gradient checkpointing a layer is one that is made again, which is one that
gradients reach; without it the mean of all."""
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
    """One optimizer step on this device. longest: tokens of the longest sample.  segment: of the longest text in a sample
    (preferences have two).  step_tokens: of the whole step.
    pairs: of a token and one that it sees, in the whole step: the sum of L (L + 1) / 2 over samples of L tokens.
    supervised: share of the tokens that is learned.  logits_chunk_bytes: the most float32 logits held at once.
    autocast_bytes: size of a value in matrix products where that differs from the weights', else 0.
    share: of the tokens at once that gradients need (KTO's mismatched answers need none).  chunks: of logits that the stage's
    loss holds besides the policy's own.  passes: 1, one more where a reference is asked, one more where experts are counted.
    generation: bytes of the cache in which answers are drawn, between the steps.  others: bytes of other models that are held,
    by name."""

    longest: int
    segment: int
    step_tokens: int
    pairs: float = 0.0
    supervised: float = 1.0
    logits_chunk_bytes: int = 96 << 20
    autocast_bytes: int = 0
    share: float = 1.0
    chunks: int = 0
    passes: float = 1.0
    generation: int = 0
    others: Mapping[str, int] = field(default_factory=dict)


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
    if f.moves_early and tokens >= work.step_tokens:
        f = replace(f, gradient_bytes=0)
    value = work.autocast_bytes or f.value_bytes
    moments = (
        _at_the_loss(f, work, tokens, value, checkpointing),
        _in_the_layers(f, work, tokens, value, checkpointing),
        {"gradients": f.gradient_bytes, "logits": f.head_bytes},
        {"gradients": f.gradient_bytes, "step": f.step_bytes if machine.kind == "cpu" else 0},
        {"generation": work.generation},
    )
    worst = max(moments, key=lambda parts: sum(parts.values()))
    return {
        "weights": f.weight_bytes + work.autocast_bytes * f.linear + (f.mapped_bytes if machine.kind == "cpu" else 0),
        **work.others,
        "gradients": worst.get("gradients", 0),
        "optimizer": f.optimizer_bytes + worst.get("step", 0),
        **({"generation": work.generation} if "generation" in worst else {}),
        "activations": worst.get("activations", 0),
        "logits": worst.get("logits", 0),
        "allocator": int(HOLES.get(machine.kind, 0.5) * tokens * work.share * (f.learning_layer if checkpointing else f.layer)),
        "libraries": machine.library_bytes + FIRST_USE_BYTES.get(machine.kind, 0),
    }


def _kept(f: Footprint, work: Work, tokens: int, checkpointing: bool) -> tuple[float, float]:
    """(bytes kept by all layers, bytes of one layer more that is made again), of a micro-batch."""
    learning, pairs = tokens * work.share, tokens * work.share * min(tokens, work.segment)
    if checkpointing:
        return learning * f.kept_checkpointed, learning * f.learning_layer + pairs * f.kept_pairs / max(1, f.layers)
    return learning * f.kept + pairs * f.kept_pairs, 0.0


def _at_the_loss(f: Footprint, work: Work, tokens: int, value: int, checkpointing: bool) -> dict[str, int]:
    kept, _ = _kept(f, work, tokens, checkpointing)
    learned = tokens * work.share * work.supervised
    logits = 4 * f.vocabulary * learned
    chunk = min(logits, work.logits_chunk_bytes)
    following = min(logits - chunk, chunk)  # is made while the last one is held
    copies = 1 + f.head_learns + f.capped + work.chunks
    halves = chunk / 2 if value == 2 else 0.0
    return {
        "gradients": 0 if tokens >= work.step_tokens else f.gradient_bytes,
        "activations": int(kept),
        "logits": int(copies * chunk + following + halves + f.head_bytes + 8 * f.hidden * learned),
    }


def _in_the_layers(f: Footprint, work: Work, tokens: int, value: int, checkpointing: bool) -> dict[str, int]:
    kept, again = _kept(f, work, tokens, checkpointing)
    learning = tokens * work.share
    spelled = UNFUSED_COPIES * 4 * f.heads / max(1, f.layers) * learning * min(tokens, work.segment) if f.kept_pairs else 0.0
    gradients = f.gradient_bytes
    if tokens >= work.step_tokens:  # one micro-batch a step: gradients grow while what was kept shrinks
        gradients = max(0, gradients - int(kept))
    buffers = learning * 2 * f.widest * value + f.unpacked_bytes
    return {"gradients": gradients, "activations": int(kept + again + buffers + spelled)}


def step_flops(footprint: Footprint, work: Work, checkpointing: bool) -> float:
    """Floating point operations of one optimizer step. Attention: two products forward, five backward (Dao 2023,
    arXiv:2307.08691, section 3.1)."""
    f = footprint
    body = f.linear * (2 if checkpointing else 1) + f.needing_gradient + f.learning
    asked = (work.passes - 1) * (f.linear + work.supervised * f.hidden * f.vocabulary)
    head = f.hidden * f.vocabulary * (4 if f.head_learns else 2)
    attention = work.pairs * f.heads * f.head_size * (9 if checkpointing else 7)
    return 2.0 * (work.share * (work.step_tokens * (body + asked + work.supervised * head) + attention))


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
