"""The numbers of a model's shape as GGUF metadata.

Enters: a transformers configuration. Leaves: keys in a GGUFWriter. Source of the keys: ggml's docs/gguf.md and what llama.cpp
reads of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from luthier.exporters.gguf_family import head_dim, ropes

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PretrainedConfig


def write_shape(writer: GGUFWriter, config: PretrainedConfig, vocabulary_size: int) -> None:
    """Layers, widths, heads, norms, rotary embedding, attention windows."""
    width = head_dim(config)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(vocabulary_size)
    if cap := getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(cap)
    if cap := getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(cap)
    _write_rope(writer, config, width)
    _write_window(writer, config)


def _write_rope(writer: GGUFWriter, config: PretrainedConfig, width: int) -> None:
    from gguf import RopeScalingType

    rope = ropes(config)["full_attention"]
    writer.add_rope_dimension_count(int(width * rope.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    if sliding := ropes(config).get("sliding_attention"):
        writer.add_rope_freq_base_swa(float(sliding["rope_theta"]))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
        writer.add_rope_scaling_orig_ctx_len(_first_length(config, rope))
    elif kind == "longrope":
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(_first_length(config, rope))
        writer.add_rope_scaling_attn_factors(longrope_attention_factor(config, rope))


def longrope_attention_factor(config: PretrainedConfig, rope: Any) -> float:
    """attention_factor, else sqrt(1 + ln(s) / ln(L)) of Ding et al. 2024 (arXiv:2402.13753), s: new over first length L."""
    if rope.get("attention_factor"):
        return float(rope["attention_factor"])
    first = _first_length(config, rope)
    scale = rope.get("factor") or config.max_position_embeddings / first
    return math.sqrt(1 + math.log(scale) / math.log(first)) if scale > 1 else 1.0


def _first_length(config: PretrainedConfig, rope: Any) -> int:
    """Tokens of context before the rotary embedding was stretched."""
    first = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return int(first or config.max_position_embeddings)


def _write_window(writer: GGUFWriter, config: PretrainedConfig) -> None:
    """Sliding windows of the architectures that have them in llama.cpp: which layers see only so many tokens back."""
    layers = getattr(config, "layer_types", None) or []
    if config.model_type in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([layer == "sliding_attention" for layer in layers])
    elif config.model_type == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)


def ignored_window(config: PretrainedConfig) -> int | None:
    """The sliding window that llama.cpp does not apply to this architecture; None where there is none that matters."""
    window = getattr(config, "sliding_window", None)
    if config.model_type in ("gemma2", "gemma3_text") or not window or window >= config.max_position_embeddings:
        return None
    layers = getattr(config, "layer_types", None)
    uses = "sliding_attention" in layers if layers else getattr(config, "use_sliding_window", True)
    return window if uses else None
