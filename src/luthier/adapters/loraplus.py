"""LoRA+ (Hayou et al. 2024, arXiv:2402.12354): B learns faster than A. Parameter groups for an optimizer; changes no weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def loraplus_groups(
    net: nn.Module, *, learning_rate: float, ratio: float, embedding_learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Optimizer groups of the trainable parameters: A at learning_rate, B at ratio times it, embeddings' factors at their own.

    Vectors (biases, norms, DoRA magnitudes) learn at B's rate without weight decay.
    """
    groups: dict[str, list[nn.Parameter]] = {"A": [], "B": [], "vector": [], "embedding": []}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups[_group_of(name, parameter)].append(parameter)
    fast = ratio * learning_rate
    settings = {
        "A": {"lr": learning_rate, "weight_decay": weight_decay},
        "B": {"lr": fast, "weight_decay": weight_decay},
        "vector": {"lr": fast, "weight_decay": 0.0},
        "embedding": {"lr": embedding_learning_rate, "weight_decay": weight_decay},
    }
    return [{"params": parameters, **settings[name]} for name, parameters in groups.items() if parameters]


def _group_of(name: str, parameter: nn.Parameter) -> str:
    if "lora_embedding_B" in name:
        return "embedding"
    if parameter.ndim == 1:
        return "vector"
    return "B" if "lora_B" in name else "A"
