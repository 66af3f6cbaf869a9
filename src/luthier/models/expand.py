"""LLaMA-Pro (Wu et al. 2024, arXiv:2401.02415): new blocks between those of a model, which at first change nothing.

Each new block is a copy of the one before it whose output projections are zero, so that its residual stream passes through.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from luthier.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTPUTS = ("o_proj", "down_proj", "out_proj", "c_proj", "dense_4h_to_h", "w2", "wo")
"""Names of the last linear layer of attention and of the feed-forward part."""


def expand(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """Add count blocks, spread evenly, in place. Raises ConfigError where they do not divide, or where no output is known."""
    layers = model.get_decoder().layers
    if count < 1 or len(layers) % count:
        raise ConfigError(f"{len(layers)} layers cannot be expanded evenly by {count}.", "Give a divisor of the layers.")
    stride = len(layers) // count
    for place in range(len(layers), 0, -stride):
        layers.insert(place, _silent(copy.deepcopy(layers[place - 1])))
    for number, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    text = model.config.get_text_config()
    text.num_hidden_layers = len(layers)
    if getattr(text, "layer_types", None):
        kinds = list(text.layer_types)
        text.layer_types = [kind for i, kind in enumerate(kinds) for kind in [kind] * (2 if (i + 1) % stride == 0 else 1)]
    return model


def _silent(layer):
    zeroed = 0
    for name, module in layer.named_modules():
        if name.rsplit(".", 1)[-1] in OUTPUTS and getattr(module, "weight", None) is not None:
            module.weight.data.zero_()
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()
            zeroed += 1
    if zeroed < 2:
        raise ConfigError("the outputs of this model's blocks are not known by name, so that no block can be added silently.")
    return layer
