"""LoRA (Hu et al. 2021, arXiv:2106.09685) and its kin, through peft: the base stays frozen, low-rank updates learn.

Enters: a base model and the lora_* keys. Leaves: a PeftModel whose learning weights are float32 (bfloat16 under pure_bf16).
Never: changes a base weight (PiSSA alone splits them, and saves what is exact on the whole ones).
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.adapters.fit import WEIGHTS, check_fits
from luthier.adapters.freeze import hidden_layers, spread
from luthier.adapters.targets import embedding_names, find_targets
from luthier.errors import CheckpointError, ConfigError, ModelError
from luthier.hub import resolve_adapter
from luthier.packing import METHOD
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from luthier.config import Config

log = logging.getLogger(__name__)

SHAPE_KEYS = (
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_target",
    "additional_target",
    "use_rslora",
    "use_dora",
    "pissa_init",
)


class Lora:
    """finetuning_type: lora.

    Given adapters (adapter_name_or_path) are merged into the base in order, but for the last, which goes on learning (or
    answering); with create_new_adapter all are merged and a new one starts.
    """

    name = "lora"

    def __init__(self, config: Config):
        self.config = config

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> PeftModel:
        model.requires_grad_(False)
        folders = [resolve_adapter(name, self.config) for name in self.config.adapter_name_or_path or ()]
        fresh = trainable and (self.config.create_new_adapter or not folders)
        if not (fresh or folders):
            raise ModelError("no adapter is given.", "adapter_name_or_path: the folder that a training wrote (its output_dir)")
        with quiet_transformers():
            for folder in folders if fresh else folders[:-1]:
                model = self.merge(self._resumed(model, folder, trainable=False))
            net = self._fresh(model) if fresh else self._resumed(model, folders[-1], trainable)
        _set_dtype(net, bfloat16=self.config.pure_bf16)
        return net

    def disabled(self, model: PeftModel) -> AbstractContextManager[None]:
        from luthier.adapters import pissa

        return pissa.at_start(model) if pissa.has_start(model) else model.disable_adapter()

    def save(self, model: PeftModel, folder: Path) -> None:
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        from luthier.adapters import pissa

        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        settings = model.peft_config["default"]
        if pissa.has_start(model):
            state, settings = pissa.to_plain(model, state), pissa.plain_config(settings)
        own = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}  # tied embeddings share memory
        save_file(own, folder / WEIGHTS, metadata={"format": "pt"})
        replace(settings, inference_mode=True, base_model_name_or_path=self._base_name()).save_pretrained(folder)

    def load(self, model: PeftModel, folder: Path) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        from luthier.adapters import pissa

        state = load_file(folder / WEIGHTS)
        try:
            if pissa.has_start(model):
                state = pissa.from_plain(model, state)
            self._require_all(model, state, folder)
            set_peft_model_state_dict(model, state)
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"{folder} does not hold the adapter of this run: {str(error).strip().splitlines()[-1].strip()}",
                "Resume with the model and the lora_* keys that the run was started with.",
            ) from error

    def merge(self, model: PeftModel) -> PreTrainedModel:
        if getattr(model.get_base_model(), "is_quantized", False):
            raise ModelError(
                "the base holds rounded weights: an adapter merged into them would be rounded too.",
                "luthier export merges it into full weights; several adapters: export with the first, and go on from that.",
            )
        return model.merge_and_unload()

    def _fresh(self, model: PreTrainedModel) -> PeftModel:
        from peft import LoraConfig, get_peft_model

        from luthier.adapters import pissa

        config = self.config
        settings = LoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora_rank,
            lora_alpha=config.lora_alpha or 2 * config.lora_rank,
            lora_dropout=config.lora_dropout,
            target_modules=find_targets(model, config.lora_target),
            layers_to_transform=_new_layers(model, config) if config.use_llama_pro else None,
            modules_to_save=self._learned_whole(model),
            ensure_weight_tying=self._adds_words and bool(model.config.get_text_config().tie_word_embeddings),
            use_rslora=config.use_rslora,
            use_dora=config.use_dora,
            init_lora_weights=pissa.initialiser(config.pissa_iter) if config.pissa_init else True,
        )
        _use_lean_layers(settings, model)
        try:
            net = get_peft_model(model, settings, autocast_adapter_dtype=False)
        except ValueError as error:
            raise ConfigError(f"lora_target: {', '.join(config.lora_target)}: {error}") from error
        if config.pissa_init:
            pissa.keep_start(net)
        return net

    @property
    def _adds_words(self) -> bool:
        config = self.config
        return bool(config.add_tokens or config.add_special_tokens or config.new_special_tokens_config or config.resize_vocab)

    def _learned_whole(self, model: PreTrainedModel) -> list[str] | None:
        """additional_target; where tokens are new and nothing is named, the embeddings, which hold them."""
        if self.config.additional_target or not self._adds_words:
            return self.config.additional_target
        return embedding_names(model)

    def _resumed(self, model: PreTrainedModel, folder: Path, trainable: bool) -> PeftModel:
        from peft import PeftConfig, PeftModel

        saved = check_fits(model, folder, self._base_name())
        if trainable and (ignored := [key for key in SHAPE_KEYS if key in self.config.model_fields_set]):
            log.warning(
                "%s: the adapter %s goes on with its own settings (rank %s); create_new_adapter: true starts a new one.",
                ", ".join(ignored),
                folder,
                saved.get("r"),
            )
        settings = PeftConfig.from_pretrained(folder)
        _use_lean_layers(settings, model)
        return PeftModel.from_pretrained(model, folder, config=settings, is_trainable=trainable, autocast_adapter_dtype=False)

    def _require_all(self, model: PeftModel, state: dict[str, Tensor], folder: Path) -> None:
        from peft import get_peft_model_state_dict

        expected = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
        if differing := sorted(expected ^ state.keys()):
            where = "missing in it" if differing[0] in expected else "not part of this adapter"
            raise KeyError(f"{differing[0]} is {where}")

    def _base_name(self) -> str:
        """What the user calls the base; a folder by its full path, so that the adapter finds it from anywhere."""
        name = self.config.model_name_or_path or ""
        return str(Path(name).expanduser().absolute()) if Path(name).expanduser().is_dir() else name


def _new_layers(model: PreTrainedModel, config: Config) -> list[int]:
    """Numbers of the layers that LLaMA-Pro added: they alone get an adapter."""
    _, layers = hidden_layers(model)
    new = {id(layer) for layer in spread(layers, abs(config.freeze_trainable_layers))}
    return [number for number, layer in enumerate(layers) if id(layer) in new]


def _use_lean_layers(settings: LoraConfig, model: PreTrainedModel) -> None:
    from torch import nn

    from luthier.adapters.lora_layer import LoraLinear

    if settings.peft_type != "LORA":
        return
    if not getattr(model, "is_quantized", False) or getattr(model, "quantization_method", None) == METHOD:
        settings._register_custom_module({nn.Linear: LoraLinear})  # peft's hook for layers of one's own
    elif getattr(model, "is_loaded_in_4bit", False):
        from bitsandbytes.nn import Linear4bit

        from luthier.adapters.lora_4bit import Lora4bit

        settings._register_custom_module({Linear4bit: Lora4bit})


def _set_dtype(net: PeftModel, bfloat16: bool) -> None:
    import torch

    dtype = torch.bfloat16 if bfloat16 and next(net.get_base_model().parameters()).dtype == torch.bfloat16 else torch.float32
    for name, parameter in net.named_parameters():
        if "lora_" in name or "oft_" in name or "modules_to_save" in name:
            parameter.data = parameter.data.to(dtype)
