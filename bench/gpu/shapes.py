"""Random models of known shapes, made on the device where they run.

Enters: a name, a device, a dtype. Leaves: a transformers model with normal(0, 0.02) weights, the same for the same seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

LLAMA_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
}
QWEN3_600M = {
    "vocab_size": 151_936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
TINY = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2, "head_dim": 16}

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3.1-8b": ("llama", LLAMA_8B),
    "qwen3-0.6b": ("qwen3", QWEN3_600M),
}


def shape_config(name: str, *, tiny: bool = False) -> PretrainedConfig:
    """The transformers config of a shape; tiny: the same family with next to no weights, for a proof on a CPU."""
    from transformers import AutoConfig

    family, shape = SHAPES[name]
    return AutoConfig.for_model(family, **(shape | TINY if tiny else shape), use_cache=False)


def make_model(config: PretrainedConfig, device: torch.device | str, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    """Weights come from transformers' own initialisation (normal, 0.02), which runs on the device: seconds for 8B."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
