"""Weights of a transformers model under their GGUF names, there and back.

Enters: a model. Leaves: (GGUF name, name in the model, tensor as llama.cpp wants it); and the inverse, to load a file again.
Never: rounds a number; how a tensor is stored is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from luthier.errors import ExportError
from luthier.exporters.gguf_family import Family, head_dim, ropes

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


class Names:
    """transformers' name of a weight -> GGUF's, for one model."""

    def __init__(self, config: PretrainedConfig, family: Family):
        import gguf

        arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family.arch)
        self._map = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
        self._model_type = family.model_type

    def __call__(self, name: str) -> str:
        """Raises ExportError for a weight that llama.cpp has no place for."""
        found = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ExportError(f"{self._model_type}: llama.cpp has no place for the weight {name}.", "Export safetensors.")
        return found


def stored_tensors(model: PreTrainedModel, family: Family) -> Iterator[tuple[str, str, Tensor]]:
    """Every weight once: (GGUF name, name in the model, the tensor to store). A tied output layer is left out."""
    config = model.config
    names, state = Names(config, family), model.state_dict()
    for name in own_names(state, config):
        yield names(name), name, to_gguf(state[name], name, config, family)


def own_names(state: Mapping[str, Tensor], config: PretrainedConfig) -> Iterator[str]:
    """The names of a model's weights, but for an output layer that is its embedding."""
    return (name for name in state if not (name == "lm_head.weight" and config.tie_word_embeddings))


def extra_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Frequencies of stretched rotary embeddings, which GGUF keeps as tensors; float32 (rotary width / 2,)."""
    rope = ropes(model.config)["full_attention"]
    kind = rope.get("rope_type", "default")
    if kind == "llama3":
        used = model.get_decoder().rotary_emb.inv_freq.float().cpu()
        width = 2 * len(used)
        plain = 1.0 / float(rope["rope_theta"]) ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
        yield "rope_freqs.weight", plain / used
    elif kind == "longrope":
        yield "rope_factors_long.weight", torch.tensor(rope["long_factor"], dtype=torch.float32)
        yield "rope_factors_short.weight", torch.tensor(rope["short_factor"], dtype=torch.float32)


def to_gguf(tensor: Tensor, name: str, config: PretrainedConfig, family: Family) -> Tensor:
    """One weight as llama.cpp computes with it."""
    if family.norm_plus_one and name.endswith("norm.weight"):
        return tensor.float() + 1
    heads = _rotary_heads(name, config, family)
    return halves_to_neighbours(tensor, heads) if heads else tensor


def from_gguf(tensor: Tensor, name: str, config: PretrainedConfig, family: Family) -> Tensor:
    """The inverse of to_gguf."""
    if family.norm_plus_one and name.endswith("norm.weight"):
        return tensor.float() - 1
    heads = _rotary_heads(name, config, family)
    return neighbours_to_halves(tensor, heads) if heads else tensor


def halves_to_neighbours(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head: 0, d/2, 1, d/2+1 ...: where transformers turns (i, i + d/2) together, llama.cpp turns (2i, 2i + 1)."""
    shape = tensor.shape
    return tensor.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def neighbours_to_halves(tensor: Tensor, heads: int) -> Tensor:
    """The inverse of halves_to_neighbours."""
    shape = tensor.shape
    return tensor.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def _rotary_heads(name: str, config: PretrainedConfig, family: Family) -> int:
    """How many heads the rows of a weight have that the rotary embedding turns; 0 for any other weight."""
    if not family.rotary_halves or ".self_attn." not in name:
        return 0
    rows = {".q_proj.": config.num_attention_heads, ".k_proj.": config.num_key_value_heads}
    return next((heads for part, heads in rows.items() if part in name and head_dim(config) % 2 == 0), 0)
