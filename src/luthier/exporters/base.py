"""The contract of an exporter: a merged transformers model in, a folder in one file format out, proved by loading it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.exporters.probe import Probe
    from luthier.templates.base import Template


class Exporter(Protocol):
    """One file format (safetensors, gguf, ollama ...), made from the config: EXPORTERS[export_format](config)."""

    def __init__(self, config: Config): ...

    def check(self, model: PreTrainedModel) -> None:
        """Raise ExportError early where this model or machine cannot be exported so."""
        ...

    def write(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template, folder: Path) -> None:
        """Write all files into folder (exists, empty; it gets its final name only after verify)."""
        ...

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """Load the files with the tool that they are made for, ask them the same, and return the measured differences.

        expected: what the trained model (base with adapter, before merging) answered. ExportError where they differ by more
        than the number format explains.
        """
        ...
