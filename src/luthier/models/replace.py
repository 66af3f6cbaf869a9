"""The linear layers of a loaded model, but its head, replaced one by one: never two copies of more than one layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def replace_linears(model: PreTrainedModel, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put make(layer) in the place of each."""
    from torch import nn

    head = model.get_output_embeddings()
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head]
    for name in names:
        model.set_submodule(name, make(model.get_submodule(name)))
