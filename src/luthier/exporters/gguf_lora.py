"""A LoRA adapter as a GGUF of its own, for llama.cpp's --lora and Ollama's ADAPTER: one base, many small files.

Enters: the base with the adapter attached. Leaves: one .gguf with A and B of every layer.
Never: takes more than plain LoRA (DoRA, trained embeddings and several adapters are merged and exported whole instead).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from luthier.errors import ExportError
from luthier.exporters.gguf import import_gguf
from luthier.exporters.gguf_family import find_family
from luthier.exporters.gguf_file import open_writer
from luthier.exporters.gguf_read import GgufContents
from luthier.exporters.gguf_tensors import Names, from_gguf, to_gguf
from luthier.exporters.probe import TOLERANCES, Probe, ask, compare
from luthier.exporters.safetensors import require_space

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config
    from luthier.templates.base import Template


class GgufLora:
    """export_format: gguf_lora."""

    merges = False
    needs_rows = False

    def __init__(self, config: Config):
        self.config = config
        if len(config.adapter_name_or_path or []) != 1 or config.finetuning_type != "lora":
            raise ExportError(
                "export_format gguf_lora takes one LoRA adapter.",
                "Give one adapter_name_or_path, or merge them all with export_format: gguf.",
            )

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        return torch.float32

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        import_gguf()
        find_family(shapes.config)
        require_space(self.config, 1 << 20)

    def write(self, model: PeftModel, tokenizer: PreTrainedTokenizerBase, template: Template, folder: Path) -> None:
        base = model.get_base_model()
        family = find_family(base.config)
        self._net, self._family = model, family
        settings = model.peft_config["default"]
        self._refuse_more_than_lora(model)
        with open_writer(self.file(folder), family.arch) as writer:
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            # llama.cpp multiplies by alpha / rank; rank-stabilised LoRA by alpha / sqrt(rank)
            alpha = settings.lora_alpha * (math.sqrt(settings.r) if settings.use_rslora else 1.0)
            writer.add_float32("adapter.lora.alpha", float(alpha))
            names = Names(base.config, family)
            for name, a, b in _layers(model):
                weight = f"{name}.weight"
                writer.add_tensor(f"{names(weight)}.lora_a", a.numpy())
                # what turns rows of the weight turns rows of B; .contiguous(): numpy writes what it sees
                writer.add_tensor(f"{names(weight)}.lora_b", to_gguf(b, weight, base.config, family).contiguous().numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """A and B of the file, put into the base's weights, give the answers of the base with its adapter."""
        contents = GgufContents(self.file(folder))
        alpha = contents.fields["adapter.lora.alpha"]
        found = {tensor.name: torch.from_numpy(np.array(tensor.values())) for tensor in contents.tensors}
        base = self._net.get_base_model()
        names = Names(base.config, self._family)
        with self._net.disable_adapter(), torch.no_grad():
            for name, a, _ in _layers(self._net):
                stored = names(f"{name}.weight")
                b = from_gguf(found[f"{stored}.lora_b"], f"{name}.weight", base.config, self._family)
                delta = alpha / a.shape[0] * b @ found[f"{stored}.lora_a"]
                weight = base.get_submodule(name).base_layer.weight
                weight += delta.to(weight.device, weight.dtype)
            return compare(expected, ask(self._net, expected.prompts), TOLERANCES[base.dtype], folder)

    def publish(self, folder: Path) -> None: ...

    def file(self, folder: Path) -> Path:
        return folder / f"{Path(self.config.export_dir or 'adapter').expanduser().resolve().name}-lora.gguf"

    def _refuse_more_than_lora(self, model: PeftModel) -> None:
        settings = model.peft_config["default"]
        more = {
            "use_dora": settings.use_dora,
            "additional_target": settings.modules_to_save,
            "lora_bias": getattr(settings, "lora_bias", False),
            "rank_pattern": settings.rank_pattern or settings.alpha_pattern,
        }
        if too_much := [name for name, used in more.items() if used]:
            raise ExportError(
                f"the adapter was trained with {', '.join(too_much)}, which a GGUF adapter cannot hold.",
                "Merge it: export_format: gguf.",
            )


def _layers(model: PeftModel) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name of the layer in the base, A (r, in), B (out, r)), float32, of every layer with LoRA."""
    for name, module in model.get_base_model().named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            yield name, a.detach().float().cpu(), b.detach().float().cpu()
