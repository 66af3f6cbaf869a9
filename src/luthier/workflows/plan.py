"""A config -> what its training will need: the model's shapes on the meta device, its adapter attached, no weights loaded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from luthier.adapters import ADAPTERS
from luthier.adapters.targets import linear_layers
from luthier.config.sharding import sharding_of
from luthier.models.load import load_config_of_model
from luthier.models.logps import CHUNK_BYTES
from luthier.planner.footprint import Footprint, measure
from luthier.planner.forecast import Machine, Work, make_plan
from luthier.planner.speed import flops_per_second
from luthier.runtime.crew import places
from luthier.runtime.device import memory, pick_device
from luthier.runtime.precision import training_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig

    from luthier.config import Config
    from luthier.planner.base import Plan
    from luthier.runtime.device import Device
    from luthier.runtime.precision import Precision

CONTEXT_BYTES = 700 << 20
"""What a GPU's driver and libraries take for themselves."""


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
) -> Plan:
    """The plan of a training on this machine. Everything not given is read from config and the machine.

    lengths: tokens of every sample; None: all of cutoff_len.  supervised: share of tokens that are learned.
    samples_per_step: on this device.  held_bytes: memory already taken by the model, if it is loaded.
    parts: into how many the model is cut, one a device (fsdp, deepspeed).
    """
    model_config = model_config or load_config_of_model(config)
    device = device or pick_device(config)
    precision = precision or training_precision(config, device, getattr(model_config, "dtype", None))
    known = np.asarray(lengths if lengths is not None and len(lengths) else [config.cutoff_len])
    packs = config.packing or config.neat_packing
    samples_per_step = samples_per_step or config.per_device_train_batch_size * config.gradient_accumulation_steps
    step_tokens = math.ceil(samples_per_step * (config.cutoff_len if packs else known.mean()))
    work = Work(
        longest=int(known.max()),
        step_tokens=step_tokens,
        pairs=step_tokens * float((known * (known + 1.0)).sum() / 2 / known.sum()),
        supervised=supervised,
        logits_chunk_bytes=CHUNK_BYTES,
        autocast_bytes=_autocast_bytes(precision),
    )
    libraries = library_bytes(device.kind, held_bytes)
    machine = Machine(
        kind=device.kind,
        free_bytes=memory(device)[0] + held_bytes + libraries,
        library_bytes=libraries,
        flops_per_second=flops_per_second(device.kind, precision.compute_dtype),
        threads=torch.get_num_threads(),
    )
    if parts is None:
        here = places(config)
        parts = here.per_machine * here.machines if sharding_of(config) else 1
    footprint = footprint_of(config, model_config, precision.param_dtype)
    return make_plan(config, footprint if parts == 1 else one_part(footprint, parts), work, machine)


def one_part(footprint: Footprint, parts: int) -> Footprint:
    """What one device holds of a model in parts: its part, and gathered whole the embeddings, the head and one layer."""
    f = footprint
    value = f.weight_bytes / max(1, f.parameters)
    ends = min(f.weight_bytes, int(2 * f.vocabulary * f.hidden * value))
    gathered = ends + (f.weight_bytes - ends) // max(1, f.layers)
    return replace(
        f,
        parameters=int((f.weight_bytes // parts + gathered) / value),  # the size of one value stays
        weight_bytes=f.weight_bytes // parts + gathered,
        trainable=f.trainable // parts,
        trainable_bytes=f.trainable_bytes // parts,
    )


def footprint_of(config: Config, model_config: PretrainedConfig, dtype: torch.dtype) -> Footprint:
    """What the model of config, with a fresh adapter of its method, costs a token."""
    from transformers import AutoModelForCausalLM

    # a fresh adapter of the same shape stands for a given one, whose file is not read here; PiSSA's start needs real numbers
    fresh = config.model_copy(update={"adapter_name_or_path": None, "create_new_adapter": False, "pissa_init": False})
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(model_config, dtype=dtype, trust_remote_code=config.trust_remote_code)
        net = ADAPTERS[config.finetuning_type](fresh).attach(model)
    footprint = measure(net)
    return replace(footprint, weight_bytes=_quantised_bytes(model, config, footprint.weight_bytes))


QUANTISED_BYTES = {4: 0.52, 8: 1.0}
"""Bytes a weight of a bitsandbytes base takes: half a byte and its scale (double quantisation), or one byte."""


def _quantised_bytes(model: torch.nn.Module, config: Config, full: int) -> int:
    """Linear layers but the head take fewer bytes in a quantised base; embeddings and norms stay as they are."""
    if config.quantization_bit not in QUANTISED_BYTES:
        return full
    weights = [layer.weight for layer in linear_layers(model).values()]
    return int(full + sum(w.numel() * (QUANTISED_BYTES[config.quantization_bit] - w.element_size()) for w in weights))


def library_bytes(kind: str, held_bytes: int) -> int:
    """Memory that this process holds besides the model: Python, torch, transformers; on a GPU that of its context."""
    if kind != "cpu":
        return CONTEXT_BYTES
    return max(0, psutil.Process().memory_info().rss - held_bytes)


def _autocast_bytes(precision: Precision) -> int:
    return precision.compute_dtype.itemsize if precision.autocast and precision.param_dtype != precision.compute_dtype else 0
