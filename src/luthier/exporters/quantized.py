"""What all quantised Hugging Face folders have in common: how they are written, read again and compared.

Enters: the merged model, for some formats rows of token ids to calibrate with. Leaves: packed shards, settings, tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from luthier.errors import ExportError
from luthier.exporters.probe import Probe, ask, compare
from luthier.exporters.safetensors import Safetensors, require_space, write_shards
from luthier.exporters.walk import find_linears
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config

Packed = dict[str, Tensor]
"""The tensors of one quantised linear layer, by their last names."""


class Quantized(Safetensors):
    """bits: of a weight.  parts: last names of a packed layer's tensors; the last of them is in no other layer.

    tolerance: nats of KL divergence of the next token from the trained model that the bits explain.
    multiple: of which the widths of all layers must be.  file: of the settings beside config.json, or None.
    """

    bits: int
    parts: tuple[str, ...]
    tolerance: float
    multiple = 32
    file: str | None = None

    def __init__(self, config: Config):
        super().__init__(config)
        if config.export_legacy_format:
            raise ExportError("quantised files are safetensors.", "Leave export_legacy_format out.")

    def round_model(self, model: PreTrainedModel) -> dict[str, Packed]:
        """The linear layers of the model, rounded and packed, by name; the model itself may change as it needs."""
        raise NotImplementedError

    def unpack(self, tensors: Packed) -> Tensor:
        """The weight (O, I), float32."""
        raise NotImplementedError

    def settings(self, kept: list[str]) -> dict[str, Any]:
        """quantization_config of config.json. Called after round_model.  kept: linear layers that are not quantised."""
        raise NotImplementedError

    def as_served(self, model: PreTrainedModel) -> None:
        """Make a model with unpacked weights compute as those that serve the files do."""

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        packed = sum(linear.weight.numel() for linear in find_linears(shapes, self.multiple).values())
        rest = sum(p.numel() for p in shapes.parameters()) - packed
        require_space(self.config, packed * (self.bits + 1) // 8 + rest * dtype.itemsize)

    def write_model(self, model: PreTrainedModel, folder: Path) -> None:
        self._class, self._packed = type(model), self.round_model(model)
        tensors: dict[str, Tensor] = {
            name: tensor.to(self._dtype or tensor.dtype).cpu()
            for name, tensor in model.state_dict().items()
            if name.removesuffix(".weight") not in self._packed
        }
        if model.config.get_text_config().tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        for name, packed in self._packed.items():
            tensors |= {f"{name}.{last}": tensor for last, tensor in packed.items()}
        write_shards(tensors, folder, f"{self.config.export_size}GB", "model{suffix}.safetensors")
        linears = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
        settings = self.settings([name for name in linears if name not in self._packed])
        model.config.quantization_config = settings
        model.config.dtype = self._dtype
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        if self.file:
            (folder / self.file).write_text(json.dumps(settings, indent=2), encoding="utf-8")

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """The files hold what was packed; unpacked, they speak as the trained model does, as far as the bits allow."""
        from transformers import AutoConfig

        stored = read_tensors(folder)
        for name, packed in self._packed.items():
            if not all(torch.equal(stored[f"{name}.{last}"], tensor) for last, tensor in packed.items()):
                raise ExportError(f"{folder} does not hold the weight {name} that was written into it.", "Check the disk.")
        config = AutoConfig.from_pretrained(folder, trust_remote_code=self.config.trust_remote_code)
        del config.quantization_config
        with quiet_transformers():
            state = self.unpacked(stored)
            model = self._class.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32)
        self.as_served(model)
        report = compare(expected, ask(model, expected.prompts), None, folder)
        if not report["kl_divergence"] <= self.tolerance:
            raise ExportError(
                f"{folder}: the quantised model is {report['kl_divergence']:.3g} nats (KL) from the trained one, more than "
                f"the {self.tolerance:g} that {self.bits} bits explain.",
                "Choose another export_format (for gptq and awq: other data), or export_verify: off if you know why.",
            )
        return report

    def unpacked(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors of a folder with the weights that were packed in float32."""
        tensors, mark = dict(stored), f".{self.parts[-1]}"
        for name in [name.removesuffix(mark) for name in stored if name.endswith(mark)]:
            packed = {last: tensors.pop(f"{name}.{last}") for last in self.parts}
            tensors[f"{name}.weight"] = self.unpack(packed)
        return tensors


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder, as they are stored."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
