"""Full fine-tuning: every parameter learns.

Saves and loads whole Hugging Face model folders; adapters/freeze.py shares that part.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import CheckpointError, ModelError
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from luthier.config import Config


class Full:
    """finetuning_type: full."""

    name = "full"

    def __init__(self, config: Config):
        self.config = config

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> PreTrainedModel:
        model.requires_grad_(trainable)
        return model

    def disabled(self, model: PreTrainedModel) -> AbstractContextManager[None]:
        raise ModelError(
            f"finetuning_type: {self.name} changes the base model itself, so its first answers are gone.",
            "Load the base as a second model (ref_model), or use finetuning_type: lora",
        )

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        with quiet_transformers():
            model.save_pretrained(folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        load_whole_model(model, folder)

    def merge(self, model: PreTrainedModel) -> PreTrainedModel:
        return model


def load_whole_model(model: PreTrainedModel, folder: Path) -> None:
    """Copy the weights in folder into model, in place and bit for bit. CheckpointError where names or shapes differ."""
    import torch

    # float32 holds every stored format exactly, and a folder may mix them (freeze tunes float32 layers of a bfloat16 model)
    with quiet_transformers():
        fresh = type(model).from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    source = dict(fresh.named_parameters()) | dict(fresh.named_buffers())
    target = dict(model.named_parameters()) | dict(model.named_buffers())
    if differing := sorted(name for name in source.keys() | target.keys() if _shape(source, name) != _shape(target, name)):
        name = differing[0]
        raise CheckpointError(
            f"{folder} belongs to another model: {name} is {_shape(source, name)} there and {_shape(target, name)} here.",
            "Resume with the model that the run was started with.",
        )
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


def _shape(tensors: dict, name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
