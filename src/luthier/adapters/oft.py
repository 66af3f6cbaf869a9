"""OFT (Qiu et al. 2023, arXiv:2306.07280; v2: arXiv:2506.19847), through peft: each weight is turned by learned rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.adapters.lora import Lora
from luthier.adapters.targets import find_targets
from luthier.errors import ConfigError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Oft(Lora):
    """finetuning_type: oft. Loading, saving, switching off and merging are those of every peft adapter.

    oft_block_size: size of the rotated blocks, or oft_rank: their number; the other one is 0.
    """

    name = "oft"

    def _fresh(self, model: PreTrainedModel) -> PeftModel:
        from peft import OFTConfig, get_peft_model

        config = self.config
        by_rank = config.oft_rank > 0
        settings = OFTConfig(
            task_type="CAUSAL_LM",
            r=config.oft_rank if by_rank else 0,
            oft_block_size=0 if by_rank else config.oft_block_size,
            module_dropout=config.module_dropout,
            target_modules=find_targets(model, config.oft_target),
            modules_to_save=self._learned_whole(model),
        )
        try:
            return get_peft_model(model, settings, autocast_adapter_dtype=False)
        except ValueError as error:
            key = "oft_rank" if by_rank else "oft_block_size"
            raise ConfigError(f"{key}: {error}", "Choose a divisor of the layers' input size.") from error
