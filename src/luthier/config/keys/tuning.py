"""Keys of the fine-tuning method: which parameters learn."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group


class TuningKeys(Group):
    """Full, freeze, LoRA and OFT."""

    finetuning_type: Literal["full", "freeze", "lora", "oft"] = "lora"
    freeze_trainable_layers: int = 2
    freeze_trainable_modules: list[str] = Field(["all"], min_length=1)
    freeze_extra_modules: list[str] | None = None
    use_llama_pro: bool = False
    lora_rank: int = Field(8, ge=1)
    lora_alpha: int | None = Field(None, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    lora_target: list[str] = Field(["all"], min_length=1)
    additional_target: list[str] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    pissa_init: bool = False
    pissa_iter: int = Field(16, ge=-1)
    pissa_convert: bool = False
    loraplus_lr_ratio: float | None = Field(None, gt=0)
    loraplus_lr_embedding: float = Field(1e-6, gt=0)
    create_new_adapter: bool = False
    oft_rank: int = Field(0, ge=0)
    oft_block_size: int = Field(32, ge=0)
    oft_target: list[str] = Field(["all"], min_length=1)
    module_dropout: float = Field(0.0, ge=0, lt=1)
