"""The contract of an exporter: a trained transformers model in, a folder in one file format out, proved by loading it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.exporters.probe import Probe
    from luthier.templates.base import Template


class Exporter(Protocol):
    """One file format (safetensors, gguf, ollama ...), made from the config: EXPORTERS[export_format](config).

    merges: whether write wants the merged model; else it gets the base with its adapter attached.
    needs_rows: whether it is to be given rows of token ids before write (its method calibrate).
    """

    merges: bool
    needs_rows: bool

    def __init__(self, config: Config): ...

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        """The number format that the files will have (or come closest to). stored: that of the base's files."""
        ...

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        """Raise ExportError where this model or machine cannot be exported so.

        shapes: the model on the meta device: no weight has been read yet.
        """
        ...

    def write(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, template: Template, folder: Path) -> None:
        """Write all files into folder (exists, empty; it gets its final name only after verify)."""
        ...

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """Load the files again, ask them the same, and return the measured differences.

        expected: what the trained model (base with adapter, before merging) answered. ExportError where they differ by more
        than the number format explains.
        """
        ...

    def publish(self, folder: Path) -> None:
        """Hand the finished folder to the programs of this machine that it is made for; nothing for most formats."""
        ...
