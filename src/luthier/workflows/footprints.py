"""A config -> what its model costs: built on the meta device as the training builds it, adapter and optimizer included.

Enters: a config and the shape of its model. Leaves: a Footprint, or bytes of a model that does not learn. A tall stack of equal
layers is measured as two low ones. No weights are loaded.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from luthier.adapters import ADAPTERS
from luthier.adapters.targets import linear_layers
from luthier.config.keys.model import ModelKeys
from luthier.config.keys.optimizer import OptimizerKeys
from luthier.config.keys.quantization import QuantizationKeys
from luthier.config.keys.tuning import TuningKeys
from luthier.models.attention import spelled_out
from luthier.models.quantize import PACKED, stored_method
from luthier.planner.bits import loaded_bits, stored_bits
from luthier.planner.footprint import Footprint, measure
from luthier.trainer.layerwise import moves_early
from luthier.trainer.optimizers import BITSANDBYTES, make_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

    from luthier.config import Config

KEYS = (
    *ModelKeys.model_fields,
    *QuantizationKeys.model_fields,
    *TuningKeys.model_fields,
    *OptimizerKeys.model_fields,
)
"""Keys that change a footprint."""

LOW = 3
MIXED = ("num_experts", "num_local_experts", "n_routed_experts", "mlp_only_layers", "no_rope_layers", "block_types")
"""Settings of models whose layers are not all alike."""

MOMENTS = {"AdamW": 2, "AdEMAMix": 3, "Lion": 1, "RMSprop": 1}
LEAST_8BIT, BLOCK_8BIT = 4096, 256
"""bitsandbytes' optimizers: numbers that each keeps for a weight. In 8 bits a block of weights shares a float32; a parameter of
fewer weights than LEAST_8BIT keeps 32 (bitsandbytes/optim/optimizer.py, min_8bit_size)."""

CPU_COPIES = {"AdamW8bit": 5.0, "Lion8bit": 5.0, "AdEMAMix8bit": 9.25, "AdEMAMix": 4.0}
"""float32 copies of a parameter that a step of theirs makes on a CPU, measured with 0.50; of those not named here 3."""


def footprint_of(config: Config, shape: PretrainedConfig, dtype: torch.dtype, *, longest: int = 0) -> Footprint:
    """What the model of config, with a fresh adapter of its method and its optimizer, costs.

    longest: tokens of the longest sample, which decides where attention is fused.
    """
    text = shape.get_text_config()
    low = LOW + abs(config.freeze_trainable_layers) * (config.finetuning_type == "freeze" or config.use_llama_pro)
    if text.num_hidden_layers < 2 * low or not _is_uniform(config, text):
        return _measured(config, shape, dtype, longest)
    first, second = (_measured(config, _with_layers(shape, layers), dtype, longest) for layers in (low, low + 2))
    return _stretched(first, second, (text.num_hidden_layers - low) / 2)


def _is_uniform(config: Config, text: PretrainedConfig) -> bool:
    """Whether each hidden layer costs what the one before cost."""
    kinds = set(getattr(text, "layer_types", None) or ())
    mixed = any(getattr(text, key, None) for key in MIXED)
    chosen_by_number = config.use_llama_pro or any(char.isdigit() for target in config.lora_target for char in target)
    return len(kinds) <= 1 and not mixed and not chosen_by_number


def _with_layers(shape: PretrainedConfig, layers: int) -> PretrainedConfig:
    low = copy.deepcopy(shape)
    text = low.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return low


def _stretched(first: Footprint, second: Footprint, steps: float) -> Footprint:
    """first plus `steps` times what second has more."""
    grown = {}
    for field in fields(Footprint):
        start, end = getattr(first, field.name), getattr(second, field.name)
        grown[field.name] = start if start == end else type(start)(start + (end - start) * steps)
    return replace(first, **grown)


def _measured(config: Config, shape: PretrainedConfig, dtype: torch.dtype, longest: int) -> Footprint:
    # a fresh adapter of the same shape stands for a given one, whose file is not read here; PiSSA's start needs real numbers
    fresh = config.model_copy(update={"adapter_name_or_path": None, "create_new_adapter": False, "pissa_init": False})
    with _shapes_only():
        model = _build(config, shape, dtype)
        quantised = _quantised(config, shape, model, config.quantization_bit)
        model.is_quantized = quantised.any and not quantised.lean  # adapters wrap such a base in another way
        net = ADAPTERS[config.finetuning_type](fresh).attach(model)
    gradients, states = learning_bytes(config, net)  # outside: an optimizer counts its steps in real numbers
    footprint = measure(net, longest=longest, unfused=spelled_out)
    return replace(
        footprint,
        weight_bytes=footprint.weight_bytes - quantised.saved_bytes,
        unpacked_bytes=quantised.unpacked_bytes,
        mapped_bytes=quantised.mapped_bytes,
        gradient_bytes=gradients,
        optimizer_bytes=states,
        step_bytes=step_bytes(config, net),
        moves_early=moves_early(config),
    )


class Footprints:
    """footprint_of, which remembers: forecasts of configs that differ in other keys cost nothing."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, torch.dtype, int], Footprint] = {}

    def __call__(self, config: Config, shape: PretrainedConfig, dtype: torch.dtype, *, longest: int = 0) -> Footprint:
        key = (config.model_dump_json(include=set(KEYS)), dtype, longest)
        if key not in self._known:
            self._known[key] = footprint_of(config, shape, dtype, longest=longest)
        return self._known[key]


def weight_bytes_of(config: Config, shape: PretrainedConfig, dtype: torch.dtype, bits: int | None) -> int:
    """Bytes of a model that is asked and never learns."""
    with _shapes_only():
        model = _build(config, shape, dtype)
    full = sum(p.numel() * p.element_size() for p in model.parameters())
    return full - _quantised(config, shape, model, bits).saved_bytes


def learning_bytes(config: Config, net: nn.Module) -> tuple[int, int]:
    """(bytes of gradients, bytes of optimizer state) that are held at a time: the optimizer itself takes a step on shapes.

    bitsandbytes' optimizers know no shapes without numbers: theirs is counted.
    """
    if kind := _of_bitsandbytes(config):
        learning = [p for p in net.parameters() if p.requires_grad]
        moments = MOMENTS[kind.removesuffix("8bit").removesuffix("32bit")]
        return _bytes(learning), moments * sum(_moment_bytes(p.numel(), kind.endswith("8bit")) for p in learning)
    optimizer = make_optimizer(net, config)
    learning = [p for p in net.parameters() if p.requires_grad]
    try:
        for parameter in learning:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        states = _states(optimizer)
    except (RuntimeError, NotImplementedError):  # an optimizer that looks at numbers
        states = 2 * _bytes(learning)
    finally:
        optimizer.zero_grad(set_to_none=True)
    return _bytes(learning), states


def step_bytes(config: Config, net: nn.Module) -> int:
    """Bytes that a step makes of the largest parameter and frees. bitsandbytes alone, which writes its kernels for GPUs, makes
    more of them on a CPU than the rest of the forecast has room for."""
    kind = _of_bitsandbytes(config)
    largest = max((p.numel() for p in net.parameters() if p.requires_grad), default=0)
    return int(4 * largest * CPU_COPIES.get(kind, 3.0)) if kind else 0


def _of_bitsandbytes(config: Config) -> str | None:
    """The class of bitsandbytes' optimizer, where that is what config asks for."""
    by_key = config.use_galore or config.use_apollo or config.use_badam or config.use_muon or config.use_adam_mini
    name = None if by_key else BITSANDBYTES.get(str(config.optim))
    return name.removeprefix("Paged") if name else None


def _moment_bytes(count: int, in_8_bits: bool) -> int:
    """Bytes of one moment of a parameter of so many weights, as bitsandbytes keeps it."""
    return count + 4 * -(-count // BLOCK_8BIT) if in_8_bits and count >= LEAST_8BIT else 4 * count


def _states(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all tensors of an optimizer's state."""
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    return _bytes(value for value in tensors if isinstance(value, torch.Tensor))


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _build(config: Config, shape: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    shape = copy.deepcopy(shape)  # from_config writes dtype into it
    return AutoModelForCausalLM.from_config(shape, dtype=dtype, trust_remote_code=config.trust_remote_code)


@contextmanager
def _shapes_only() -> Iterator[None]:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantised:
    """saved_bytes: by which a base in fewer bits is smaller.  unpacked_bytes: of its largest matrix, which every library makes
    whole for a product.  mapped_bytes: of the full weights in their file.  any: whether there are fewer bits.
    lean: LoRA is as over full weights (adapters/lora_layer.py, lora_4bit.py)."""

    saved_bytes: int = 0
    unpacked_bytes: int = 0
    mapped_bytes: int = 0
    any: bool = False
    lean: bool = False


def _quantised(config: Config, shape: PretrainedConfig, model: PreTrainedModel, bits: int | None) -> _Quantised:
    """Linear layers but the head take fewer bytes; embeddings and norms stay as they are."""
    size = model.dtype.itemsize
    method, double = config.quantization_method, config.double_quantization
    packed = (method, bits) == ("torchao", 4) or (bits is None and stored_method(shape) in PACKED)
    if bits is not None:
        each = loaded_bits(method, bits, double=double, value_bits=8 * size)
    else:
        each = stored_bits(_settings(shape), value_bits=8 * size)
    if each is None:
        return _Quantised()
    counts = [layer.weight.numel() for layer in linear_layers(model).values()]
    as_stored = getattr(shape, "dtype", None) in (None, model.dtype)  # else the embeddings are copied, and nothing stays mapped
    return _Quantised(
        saved_bytes=int(sum(counts) * (size - each / 8)),
        unpacked_bytes=max(counts) * (4 + max(1, size % 4) if packed else size),  # packed: float32, beside codes, then the copy
        mapped_bytes=sum(counts) * size if bits is not None and as_stored else 0,
        any=True,
        lean=packed or (method, bits) == ("bnb", 4),
    )


def _settings(shape: PretrainedConfig) -> dict[str, Any]:
    """What config.json says of its own quantisation."""
    found = getattr(shape, "quantization_config", None) or {}
    return found if isinstance(found, dict) else found.to_dict()
