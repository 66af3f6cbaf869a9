"""LoRA (Hu et al. 2021, arXiv:2106.09685) and its kin, through peft: the base stays frozen, low-rank updates learn.

Enters: a base model and the lora_* keys. Leaves: a PeftModel whose trainable weights are float32.
Never: changes a base weight (PiSSA alone splits them, and puts them back when it merges).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.adapters.targets import find_targets
from luthier.hub import resolve_adapter

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

    from luthier.config import Config

WEIGHTS = "adapter_model.safetensors"


class Lora:
    """finetuning_type: lora."""

    name = "lora"

    def __init__(self, config: Config):
        self.config = config

    def attach(self, model: PreTrainedModel, *, trainable: bool = True) -> PeftModel:
        """Given adapters are merged in order but for the last, which is resumed; with create_new_adapter all are merged."""
        from peft import PeftModel, get_peft_model

        model.requires_grad_(False)
        folders = [resolve_adapter(name, self.config) for name in self.config.adapter_name_or_path or ()]
        fresh = trainable and (self.config.create_new_adapter or not folders)
        for folder in folders if fresh else folders[:-1]:
            model = self.merge(PeftModel.from_pretrained(model, folder))
        if fresh:
            net = get_peft_model(model, self._peft_config(model), autocast_adapter_dtype=False)
        else:
            net = PeftModel.from_pretrained(model, folders[-1], is_trainable=trainable, autocast_adapter_dtype=False)
        _to_float32(net)
        return net

    def disabled(self, model: PeftModel) -> AbstractContextManager[None]:
        return model.disable_adapter()

    def save(self, model: PeftModel, folder: Path) -> None:
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        state = {
            name: tensor.contiguous() for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
        }
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        model.peft_config["default"].save_pretrained(folder)

    def load(self, model: PeftModel, folder: Path) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(model, load_file(folder / WEIGHTS))

    def merge(self, model: PeftModel) -> PreTrainedModel:
        return model.merge_and_unload()

    def _peft_config(self, model: PreTrainedModel) -> LoraConfig:
        from peft import LoraConfig

        config = self.config
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora_rank,
            lora_alpha=config.lora_alpha or 2 * config.lora_rank,
            lora_dropout=config.lora_dropout,
            target_modules=find_targets(model, config.lora_target),
            modules_to_save=config.additional_target,
            use_rslora=config.use_rslora,
            use_dora=config.use_dora,
        )


def _to_float32(net: PeftModel) -> None:
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
