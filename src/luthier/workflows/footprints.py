"""A config -> what its model costs: built on the meta device as the training builds it, adapter and optimizer included.

Enters: a config and the shape of its model. Leaves: a Footprint, or bytes of a model that does not learn. A tall stack of equal
layers is measured as two low ones. No weights are loaded.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch

from luthier.adapters import ADAPTERS
from luthier.adapters.targets import linear_layers
from luthier.config.keys.model import ModelKeys
from luthier.config.keys.optimizer import OptimizerKeys
from luthier.config.keys.quantization import QuantizationKeys
from luthier.config.keys.tuning import TuningKeys
from luthier.models.attention import spelled_out
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

QUANTISED_BYTES = {(4, False): 0.5 + 4 / 64, (4, True): 0.5 + 1 / 64 + 4 / (64 * 256), (8, False): 1.0, (8, True): 1.0}
"""(bits, double quantisation) -> bytes a weight of a bitsandbytes base: its bits and a scale for each block of 64 weights."""


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
        saved = _saved_by_bits(model, config.quantization_bit, config.double_quantization)
        model.is_quantized = config.quantization_bit is not None  # adapters wrap such a base in another way
        net = ADAPTERS[config.finetuning_type](fresh).attach(model)
    gradients, states = learning_bytes(config, net)  # outside: an optimizer counts its steps in real numbers
    footprint = measure(net, longest=longest, unfused=spelled_out)
    return replace(
        footprint,
        weight_bytes=footprint.weight_bytes - saved,
        gradient_bytes=gradients,
        optimizer_bytes=states,
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
    return full - _saved_by_bits(model, bits, config.double_quantization)


def learning_bytes(config: Config, net: nn.Module) -> tuple[int, int]:
    """(bytes of gradients, bytes of optimizer state) that are held at a time: the optimizer itself takes a step on shapes.

    bitsandbytes' optimizers run on GPUs alone; theirs is one byte or four a value of each moment.
    """
    name = str(config.optim)
    plain = not (config.use_galore or config.use_apollo or config.use_badam or config.use_muon)
    if plain and name in BITSANDBYTES:
        learning = [p for p in net.parameters() if p.requires_grad]
        moments = (2 if "adam" in name else 1) * (1 if "8bit" in name else 4)
        return _bytes(learning), moments * sum(p.numel() for p in learning)
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


def _states(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all tensors of an optimizer's state."""
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    return _bytes(value for value in tensors if isinstance(value, torch.Tensor))


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _build(config: Config, shape: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(shape, dtype=dtype, trust_remote_code=config.trust_remote_code)


@contextmanager
def _shapes_only() -> Iterator[None]:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        yield


def _saved_by_bits(model: PreTrainedModel, bits: int | None, double: bool) -> int:
    """Linear layers but the head take fewer bytes in a quantised base; embeddings and norms stay as they are."""
    if (bits, double) not in QUANTISED_BYTES:
        return 0
    weights = [layer.weight for layer in linear_layers(model).values()]
    return int(sum(w.numel() * (w.element_size() - QUANTISED_BYTES[bits, double]) for w in weights))
