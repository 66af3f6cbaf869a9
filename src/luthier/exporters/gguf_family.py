"""Which model families have a GGUF, and what is peculiar to each (gguf_families.yaml).

Enters: a transformers configuration. Leaves: a Family. Never: lets a model through that llama.cpp would compute otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from luthier.errors import ExportError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ROPE_TYPES = ("default", "linear", "yarn", "llama3", "longrope")
"""Kinds of rotary embedding that a GGUF can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of gguf_families.yaml; see there."""

    model_type: str
    arch: str
    rotary_halves: bool = False
    norm_plus_one: bool = False
    tied: bool = False
    head_scale: int | None = None


def find_family(config: PretrainedConfig) -> Family:
    """The family of a model. Raises ExportError for one that GGUF cannot hold, and says why."""
    rows = _rows()
    if config.model_type not in rows:
        raise ExportError(
            f'the architecture "{config.model_type}" has no GGUF here.',
            f"There are: {', '.join(sorted(rows))}. Export safetensors and convert them with llama.cpp's own script.",
        )
    family = Family(model_type=config.model_type, **rows[config.model_type])
    if family.tied and not config.tie_word_embeddings:
        raise ExportError(f"{config.model_type}: llama.cpp takes the embedding as the output layer, this model has another.")
    if family.head_scale is not None:
        _check_scale(config, family.head_scale)
    for rope in ropes(config).values():
        if rope.get("rope_type", "default") not in ROPE_TYPES:
            raise ExportError(
                f'rope_type "{rope["rope_type"]}" has no GGUF.', f"There are: {', '.join(ROPE_TYPES)}. Export safetensors."
            )
    return family


def ropes(config: PretrainedConfig) -> Mapping[str, Mapping[str, Any]]:
    """rope_parameters by kind of layer: {"full_attention": {"rope_theta", "rope_type", ...}, "sliding_attention": ...}."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = {name: value for name, value in parameters.items() if isinstance(value, Mapping)}
    return nested or {"full_attention": parameters}


def head_dim(config: PretrainedConfig) -> int:
    """Width of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _check_scale(config: PretrainedConfig, layers: int) -> None:
    by_width = config.num_hidden_layers == layers
    expected = config.hidden_size // config.num_attention_heads if by_width else head_dim(config)
    if config.query_pre_attn_scalar != expected:
        raise ExportError(
            f"query_pre_attn_scalar is {config.query_pre_attn_scalar}; llama.cpp would compute with {expected}.",
            "Export safetensors.",
        )


@cache
def _rows() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((files("luthier") / "exporters" / "gguf_families.yaml").read_text(encoding="utf-8"))
