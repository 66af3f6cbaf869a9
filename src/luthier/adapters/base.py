"""The contract of a fine-tuning method: which parameters learn, and how they are attached, saved and merged."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Adapter(Protocol):
    """One fine-tuning method (full, freeze, lora ...), made from the config: ADAPTERS[name](config)."""

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> nn.Module:
        """Freeze what is frozen, add what is added (loading adapter_name_or_path), and return the module to train.

        trainable: False to answer or export with what was trained: nothing learns, and an adapter must be given.
        """
        ...

    def disabled(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it the model answers as its base did. ModelError where the base is gone (full, freeze)."""
        ...

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the trained weights (safetensors; PEFT's format for adapters) into an existing folder."""
        ...

    def load(self, model: nn.Module, folder: Path) -> None:
        """Read what save wrote into an attached model, in place: resuming, or the best checkpoint at the end."""
        ...

    def merge(self, model: nn.Module) -> PreTrainedModel:
        """The plain transformers model with everything learned inside its weights."""
        ...
