"""A config -> what its training will need, on this machine or on a card that is only named; no weights are loaded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from luthier.config.sharding import sharding_of
from luthier.models.load import load_config_of_model
from luthier.models.logps import CHUNK_BYTES
from luthier.planner.forecast import Machine, Work, make_plan
from luthier.planner.speed import flops_per_second
from luthier.runtime.crew import places
from luthier.runtime.device import Device, memory, pick_device
from luthier.runtime.precision import training_precision
from luthier.stages import STAGES
from luthier.stages.balanced import BALANCED
from luthier.workflows.footprints import Footprints, footprint_of, weight_bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig

    from luthier.config import Config
    from luthier.planner.base import Plan
    from luthier.planner.cards import Card
    from luthier.planner.footprint import Footprint
    from luthier.runtime.precision import Precision

CONTEXT_BYTES = 700 << 20
"""What a GPU's driver and libraries take for themselves."""
SEGMENTS = {"dpo": 2, "rm": 2, "kto": 2}
"""Stage -> texts of cutoff_len in one sample: chosen and rejected; the answer and a mismatched one."""
LEARNING = {"kto": 0.5}
"""Stage -> share of a micro-batch that gradients are made for."""
DISTRIBUTION_CHUNKS = 6
"""Chunks of logits that a divergence of whole distributions holds besides the policy's own: the other model's, both as
log-probabilities, their difference, and two that the backward pass makes (models/divergence.py)."""
GATHERED = 3
"""Layers' worth of weights that FSDP2 holds besides the part."""
ROWS = {"cpu": 64}
ROWS_ACCELERATOR = 256
"""Answers that are drawn at once, at the most."""


def plan_training(
    config: Config,
    *,
    model_config: PretrainedConfig | None = None,
    lengths: Sequence[int] | None = None,
    supervised: float = 1.0,
    samples_per_step: int | None = None,
    device: Device | None = None,
    precision: Precision | None = None,
    held_bytes: int = 0,
    parts: int | None = None,
    card: Card | None = None,
    footprints: Footprints | None = None,
) -> Plan:
    """The plan of a training on this machine. Everything not given is read from config and the machine.

    lengths: tokens of every sample; None: all as long as cutoff_len allows.  supervised: share of tokens that are learned.
    samples_per_step: on this device.  held_bytes: memory already taken by the models, if they are loaded.
    parts: into how many the model is cut, one a device (fsdp, deepspeed).
    card: instead of this machine; then nothing is measured.  footprints: keeps what several forecasts have in common.
    """
    model_config = model_config or load_config_of_model(config)
    device = card.device if card else device or pick_device(config)
    precision = precision or training_precision(config, device, getattr(model_config, "dtype", None))
    work = work_of(config, model_config, device, precision, lengths, supervised, samples_per_step)
    footprint = (footprints or footprint_of)(config, model_config, precision.param_dtype, longest=work.segment)
    if parts is None:
        parts = _devices(config, card) if sharding_of(config) else 1
    if parts > 1:
        work = replace(work, others={name: _held(whole, footprint, parts) for name, whole in work.others.items()})
        footprint = one_part(footprint, parts)
    return make_plan(config, footprint, work, _card(card) if card else _this_machine(device, precision, held_bytes))


def _devices(config: Config, card: Card | None) -> int:
    """How many processes a training has; of a card that is not here as many as are asked for."""
    if card:
        return int(config.nproc_per_node or 1) * int(config.nnodes or 1)
    here = places(config)
    return here.per_machine * here.machines


def one_part(footprint: Footprint, parts: int) -> Footprint:
    """What one device holds of a model in parts: its part, and what is gathered whole.

    The files of a quantised base are mapped no more: what is cut is copied.
    """
    f = footprint
    held = _held(f.weight_bytes, f, parts)
    return replace(
        f,
        parameters=int(f.parameters * held / max(1, f.weight_bytes)),
        weight_bytes=held,
        mapped_bytes=0,
        trainable=f.trainable // parts,
        trainable_bytes=f.trainable_bytes // parts,
        gradient_bytes=f.gradient_bytes // parts,
        optimizer_bytes=f.optimizer_bytes // parts,
    )


def _held(whole: int, footprint: Footprint, parts: int) -> int:
    """Bytes on one device of a model of whole bytes, shaped as footprint: its part; embeddings and head, gathered whole; the
    layer at work, the next one, gathered ahead, and the buffer in which that arrives."""
    ends = min(whole, footprint.ends_bytes)
    return whole // parts + ends + (whole - ends) * min(GATHERED, footprint.layers) // max(1, footprint.layers)


def work_of(
    config: Config,
    model_config: PretrainedConfig,
    device: Device,
    precision: Precision,
    lengths: Sequence[int] | None,
    supervised: float,
    samples_per_step: int | None,
) -> Work:
    """One optimizer step as the stage makes it."""
    segments = SEGMENTS.get(config.stage, 1)
    answers = config.max_new_tokens if config.stage in ("grpo", "ppo") else 0
    known = np.asarray(lengths if lengths is not None and len(lengths) else [segments * config.cutoff_len + answers])
    packs = config.packing or config.neat_packing
    if samples_per_step is None:
        samples_per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps
    samples_per_step *= config.num_generations if config.stage == "grpo" else 1
    step_tokens = math.ceil(samples_per_step * (config.cutoff_len if packs else known.mean()))
    stage = STAGES[config.stage](config)
    return Work(
        longest=int(known.max()),
        segment=-(-int(known.max()) // segments),
        step_tokens=step_tokens,
        pairs=step_tokens * float((known * (known + 1.0)).sum() / 2 / known.sum()) / segments,
        supervised=supervised,
        logits_chunk_bytes=CHUNK_BYTES,
        autocast_bytes=_autocast_bytes(precision),
        share=LEARNING.get(config.stage, 1.0),
        chunks=DISTRIBUTION_CHUNKS if config.stage == "kd" or config.use_asft_loss else 0,
        passes=1.0
        + (stage.needs_reference and not config.precompute_ref_log_probs)
        + (bool(config.moe_aux_loss_coef) and stage.name in BALANCED),
        generation=_cache_bytes(config, model_config, device, precision, samples_per_step, int(known.max())) if answers else 0,
        others=_others(config, model_config, stage.needs_reference, precision.param_dtype),
    )


def _others(config: Config, shape: PretrainedConfig, compares: bool, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of the models beside the one that learns: the reference (none where the base under an adapter serves, or where its
    log-probabilities are asked before), the teacher, the reward model."""
    found = {}
    if config.stage == "kd":
        found["teacher"] = _model_bytes(config, config.teacher_model, shape, dtype, None)
    elif (
        compares and not config.precompute_ref_log_probs and (config.ref_model or config.finetuning_type not in ("lora", "oft"))
    ):
        found["reference"] = _model_bytes(config, config.ref_model, shape, dtype, config.ref_model_quantization_bit)
    if config.stage in ("ppo", "grpo") and config.reward_model and config.reward_model_type != "api":
        name = config.reward_model if config.reward_model_type == "full" else None
        found["reward"] = _model_bytes(config, name, shape, dtype, config.reward_model_quantization_bit)
    return found


def _model_bytes(config: Config, name: str | None, shape: PretrainedConfig, dtype: torch.dtype, bits: int | None) -> int:
    if name is not None:
        shape = load_config_of_model(config.model_copy(update={"model_name_or_path": name}))
    return weight_bytes_of(config, shape, dtype, bits)


def _cache_bytes(
    config: Config, shape: PretrainedConfig, device: Device, precision: Precision, answers: int, longest: int
) -> int:
    """Keys and values of the answers that are drawn at once."""
    text = shape.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    rows = min(answers, ROWS.get(device.kind, ROWS_ACCELERATOR))
    return rows * longest * 2 * text.num_hidden_layers * heads * size * precision.compute_dtype.itemsize


def _this_machine(device: Device, precision: Precision, held_bytes: int) -> Machine:
    libraries = library_bytes(device.kind, held_bytes)
    return Machine(
        kind=device.kind,
        free_bytes=memory(device)[0] + held_bytes + libraries,
        library_bytes=libraries,
        flops_per_second=flops_per_second(device.kind, precision.compute_dtype),
        threads=torch.get_num_threads(),
    )


def _card(card: Card) -> Machine:
    return Machine(
        kind=card.device.kind,
        free_bytes=card.memory_bytes,
        library_bytes=CONTEXT_BYTES,
        flops_per_second=card.flops_per_second,
    )


def library_bytes(kind: str, held_bytes: int) -> int:
    """Memory that this process holds besides the model: Python, torch, transformers; on a GPU that of its context."""
    if kind != "cpu":
        return CONTEXT_BYTES
    return max(0, psutil.Process().memory_info().rss - held_bytes)


def _autocast_bytes(precision: Precision) -> int:
    return precision.compute_dtype.itemsize if precision.autocast and precision.param_dtype != precision.compute_dtype else 0
