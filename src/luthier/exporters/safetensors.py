"""A Hugging Face folder: safetensors shards (or .bin files), config, tokenizer with the training's chat template, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ExportError
from luthier.exporters.modelfile import write_modelfile
from luthier.exporters.probe import TOLERANCES, Probe, ask, compare
from luthier.runtime.files import free_bytes, size_text
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.templates.base import Template


class Safetensors:
    """export_format: safetensors."""

    merges = True
    needs_rows = False

    def __init__(self, config: Config):
        self.config = config
        self._dtype: torch.dtype | None = None

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        import torch

        self._dtype = getattr(torch, self.config.infer_dtype) if self.config.infer_dtype != "auto" else stored
        return self._dtype

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        """Refuse a disk that is too small before anything is read."""
        require_space(self.config, sum(p.numel() for p in shapes.parameters()) * dtype.itemsize)

    def write(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template, folder: Path) -> None:
        model.config.use_cache = True
        _generation_settings(model, tokenizer, template)
        with quiet_transformers():
            self.write_model(model, folder)
        tokenizer.chat_template = template.jinja()
        tokenizer.padding_side = "left"  # what generation in batches needs
        tokenizer.save_pretrained(folder)
        write_modelfile(folder, ".", tokenizer, template, model.config.max_position_embeddings)

    def write_model(self, model: PreTrainedModel, folder: Path) -> None:
        """Weights and configuration."""
        model.to(self._dtype or model.dtype)
        size = f"{self.config.export_size}GB"
        if not self.config.export_legacy_format:
            model.save_pretrained(folder, max_shard_size=size)
            return
        # pickle, for tools that read nothing else
        write_shards(model.state_dict(), folder, size, "pytorch_model{suffix}.bin")
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        from transformers import AutoModelForCausalLM

        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype="auto",
                use_safetensors=not self.config.export_legacy_format,
                weights_only=True,
                local_files_only=True,
                trust_remote_code=self.config.trust_remote_code,
            )
        return compare(expected, ask(model, expected.prompts), TOLERANCES[model.dtype], folder)

    def publish(self, folder: Path) -> None: ...


def require_space(config: Config, needed: int) -> None:
    """Raise ExportError unless so many bytes, and a little more, are free where export_dir is to be."""
    free = free_bytes(Path(config.export_dir or ".").expanduser())
    if free < needed * 1.05:
        raise ExportError(
            f"export_dir {config.export_dir} needs {size_text(needed)}; {size_text(free)} are free on that disk.",
            "Free some space or choose another export_dir.",
        )


def write_shards(tensors: Mapping[str, Tensor], folder: Path, size: str, pattern: str) -> None:
    """Files of size ("5GB") at the most, with their index where there are several.

    pattern: their name with {suffix} in it, ending in .bin or .safetensors.
    """
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    split = split_torch_state_dict_into_shards(dict(tensors), filename_pattern=pattern, max_shard_size=size)
    for name, keys in split.filename_to_tensors.items():
        shard = {key: tensors[key].cpu() for key in keys}
        if pattern.endswith(".bin"):
            torch.save(shard, folder / name)
        else:
            save_file(shard, folder / name, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / f"{pattern.format(suffix='')}.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _generation_settings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
    """Generation stops where the template's answers end, whoever loads the model."""
    settings = model.generation_config
    known = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    settings.eos_token_id = list(dict.fromkeys([*template.stop_token_ids, *(i for i in known if i is not None)]))
    settings.pad_token_id = tokenizer.pad_token_id
