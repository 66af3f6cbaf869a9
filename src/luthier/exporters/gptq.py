"""A Hugging Face folder with its linear layers in 2, 3, 4 or 8 bits, rounded by GPTQ: vLLM, SGLang and transformers load it.

Enters: the merged model, and rows of token ids to calibrate with. Leaves: packed shards, settings, tokenizer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import ExportError
from luthier.exporters.gptq_layers import find_linears, group_size, round_layers
from luthier.exporters.gptq_pack import pack, unpack
from luthier.exporters.probe import Probe, ask, compare
from luthier.exporters.safetensors import Safetensors, require_space, write_shards
from luthier.runtime.progress import progress_bars
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from luthier.config import Config

log = logging.getLogger(__name__)

DAMPING = 0.01


class Gptq(Safetensors):
    """export_quantization_bit, or export_format: gptq (4 bits)."""

    needs_rows = True

    def __init__(self, config: Config):
        super().__init__(config)
        self.bits = config.export_quantization_bit or 4
        self.rows: Sequence[Sequence[int]] = ()
        if config.export_legacy_format:
            raise ExportError("GPTQ files are safetensors.", "Leave export_legacy_format out.")

    def calibrate(self, rows: Sequence[Sequence[int]]) -> None:
        """Token ids, all of one length; the last tenth of them is held out to measure with."""
        self.rows = rows

    def dtype(self, stored: torch.dtype) -> torch.dtype:
        """float16 for all that is not quantised, which every kernel takes, unless infer_dtype says otherwise."""
        import torch

        return super().dtype(torch.float16)

    def check(self, shapes: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        linears = find_linears(shapes)
        group_size(linears)
        packed = sum(linear.weight.numel() for linear in linears.values())
        rest = sum(p.numel() for p in shapes.parameters()) - packed
        require_space(self.config, packed * (self.bits + 1) // 8 + rest * dtype.itemsize)

    def write_model(self, model: PreTrainedModel, folder: Path) -> None:
        import torch

        held = max(1, len(self.rows) // 10)
        rows, measured = self.rows[:-held], self.rows[-held:]
        if not rows:
            raise ExportError("one row is too little to calibrate with.", "Give export_quantization_dataset more text.")
        group = group_size(find_linears(model))
        before = loss(model, measured)
        with progress_bars(self.config.disable_tqdm or False) as bars:
            bar = bars.add("quantise", model.config.get_text_config().num_hidden_layers)
            rounded = round_layers(model, rows, bits=self.bits, group=group, on_layer=bar.update)
            bar.close()
        log.info(
            "GPTQ with %d bits, groups of %d, %d rows of %d tokens: loss on held-out rows %.4f, %.4f before",
            self.bits, group, len(rows), len(rows[0]), loss(model, measured), before,
        )  # fmt: skip
        self._class, self._rounded = type(model), rounded
        tensors: dict[str, Tensor] = {
            name: tensor.to(self._dtype or torch.float16).cpu()
            for name, tensor in model.state_dict().items()
            if name.removesuffix(".weight") not in rounded
        }
        if model.config.get_text_config().tie_word_embeddings:
            tensors.pop("lm_head.weight", None)
        for name, result in rounded.items():
            tensors |= {f"{name}.{last}": tensor for last, tensor in pack(result).items()}
        write_shards(tensors, folder, f"{self.config.export_size}GB", "model{suffix}.safetensors")
        settings = self._settings(group)
        model.config.quantization_config = settings
        model.config.dtype = self._dtype
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        (folder / "quantize_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")

    def verify(self, expected: Probe, folder: Path) -> Mapping[str, float]:
        """Every packed weight is the rounded one; the files, unpacked, give logits that are compared with the trained model's.

        No tolerance there: what the bits lose is their own affair, and the held-out loss in the log tells it.
        """
        import torch
        from transformers import AutoConfig

        state = read_gptq(folder)
        for name, result in self._rounded.items():
            if not torch.equal(state[f"{name}.weight"], result.weight):
                raise ExportError(f"{folder} does not hold the weight {name} that was written into it.", "Check the disk.")
        config = AutoConfig.from_pretrained(folder, trust_remote_code=self.config.trust_remote_code)
        del config.quantization_config
        with quiet_transformers():
            model = self._class.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32)
        return compare(expected, ask(model, expected.prompts), None, folder)

    def _settings(self, group: int) -> dict[str, Any]:
        return {
            "quant_method": "gptq", "bits": self.bits, "group_size": group, "sym": True, "desc_act": False,
            "true_sequential": True, "damp_percent": DAMPING, "lm_head": False, "checkpoint_format": "gptq",
            "pack_dtype": "int32", "meta": {"quantizer": ["luthier"]},
        }  # fmt: skip


def read_gptq(folder: Path) -> dict[str, Tensor]:
    """All tensors of a GPTQ folder with its weights unpacked, float32 where they were packed."""
    from safetensors.torch import load_file

    bits = json.loads((folder / "quantize_config.json").read_text(encoding="utf-8"))["bits"]
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    for name in [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]:
        packed = {last: tensors.pop(f"{name}.{last}") for last in ("qweight", "qzeros", "scales", "g_idx")}
        tensors[f"{name}.weight"] = unpack(packed, bits)
    return tensors


def loss(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> float:
    """Mean negative log-likelihood of a token, in nats."""
    import torch

    device = model.get_input_embeddings().weight.device
    tensors = (torch.tensor([list(row)], device=device) for row in rows)
    with torch.no_grad():
        losses = [model(input_ids=ids, labels=ids, use_cache=False).loss for ids in tensors]
    return float(torch.stack(losses).float().mean())
