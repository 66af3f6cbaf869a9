"""One number a token on top of a language model: the score of a reward model, the value of PPO.

Lies beside the model's own files as value_head.safetensors with v_head.summary.{weight,bias}, the names that LLaMA-Factory
and TRL give it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from luthier.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """hidden states (..., H) -> (...,) float32. Starts near 0, so that a fresh head changes little."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.summary = nn.Linear(hidden_size, 1)
        nn.init.normal_(self.summary.weight, std=(hidden_size + 1) ** -0.5)
        nn.init.zeros_(self.summary.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return self.summary(hidden.to(self.summary.weight.dtype))[..., 0]

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        state = {f"v_head.{name}": tensor.detach().contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / HEAD_FILE, metadata={"format": "pt"})

    def load(self, folder: Path) -> None:
        """Raises CheckpointError where folder has no head of this size."""
        from safetensors.torch import load_file

        try:
            state = load_file(folder / HEAD_FILE)
            self.load_state_dict({name.removeprefix("v_head."): tensor for name, tensor in state.items()})
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"{folder} holds no {HEAD_FILE} of this model's size ({self.summary.in_features}).",
                "Name a folder that stage rm wrote.",
            ) from error


class ModelWithHead(nn.Module):
    """A model (with its adapter) and its head, as one module to train."""

    def __init__(self, model: nn.Module, head: ValueHead):
        super().__init__()
        self.model, self.v_head = model, head

    def get_base_model(self) -> PreTrainedModel:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
