"""Partial-parameter tuning: some hidden layers learn, everything else stays frozen, bit for bit.

The hidden layers are the longest nn.ModuleList of the model (`model.layers` in Llama and Qwen).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from luthier.adapters.full import Full
from luthier.errors import ConfigError
from luthier.registry import nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Freeze(Full):
    """finetuning_type: freeze.

    freeze_trainable_layers: n > 0 the last n layers learn, n < 0 the first -n.
    freeze_trainable_modules: which parts of these layers (self_attn, mlp ...), or all.
    freeze_extra_modules: modules outside the layers that learn too (embed_tokens, norm, lm_head ...).
    """

    name = "freeze"

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> PreTrainedModel:
        model.requires_grad_(False)
        if trainable:
            for module in self._learning(model):
                module.requires_grad_(True)
                if not self.config.pure_bf16:
                    module.float()
        return model

    def _learning(self, model: PreTrainedModel) -> list[nn.Module]:
        prefix, layers = hidden_layers(model)
        count = self.config.freeze_trainable_layers
        if count == 0 or abs(count) > len(layers):
            raise ConfigError(
                f"freeze_trainable_layers: {count} does not fit this model of {len(layers)} hidden layers.",
                f"1 to {len(layers)} for the last layers, -1 to -{len(layers)} for the first.",
            )
        chosen = spread(layers, abs(count)) if self.config.use_llama_pro else layers[-count:] if count > 0 else layers[:-count]
        parts = self.config.freeze_trainable_modules or ["all"]
        if "all" in parts:
            learning = list(chosen)
        else:
            _require("freeze_trainable_modules", parts, {name for layer in layers for name, _ in layer.named_children()})
            learning = [child for layer in chosen for name, child in layer.named_children() if name in parts]
        outside = _with_own_parameters(model, prefix)
        extra = self.config.freeze_extra_modules or []
        _require("freeze_extra_modules", extra, outside)
        return learning + [outside[name] for name in extra]


def spread(layers: nn.ModuleList, count: int) -> list[nn.Module]:
    """LLaMA-Pro's new blocks: the last of each of `count` equal stretches (models/expand.py puts them there).

    >>> # 10 layers, 2 new: 0 1 2 3 [4] 5 6 7 8 [9]
    """
    if len(layers) % count:
        raise ConfigError(
            f"use_llama_pro: {len(layers)} layers do not divide into {count} (freeze_trainable_layers) equal stretches.",
            "Set freeze_trainable_layers to the number of blocks that the model was expanded by.",
        )
    stride = len(layers) // count
    return [layers[place] for place in range(stride - 1, len(layers), stride)]


def hidden_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Name and modules of the hidden layers."""
    from torch import nn

    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ConfigError(
            "finetuning_type: freeze: this model has no list of hidden layers.", "Use finetuning_type: lora or full"
        )
    return max(lists, key=lambda item: len(item[1]))


def _with_own_parameters(model: PreTrainedModel, prefix: str) -> dict[str, nn.Module]:
    """Modules outside the hidden layers that hold parameters themselves: last part of the name -> module."""
    return {
        name.rsplit(".", 1)[-1]: module
        for name, module in model.named_modules()
        if not name.startswith(prefix) and next(module.parameters(recurse=False), None) is not None
    }


def _require(key: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    for name in wanted:
        if name not in known:
            close = nearest(name, list(known))
            hint = f'Did you mean "{close[0]}"? ' if close else ""
            raise ConfigError(f'{key}: this model has no "{name}".', f"{hint}It has: {', '.join(sorted(known))}")
