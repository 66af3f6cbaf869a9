"""Keys of learning from preferences and rewards: rm, dpo, kto, ppo."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group


class PreferenceKeys(Group):
    """Losses over pairs, rated answers and rewards; reference and reward models."""

    pref_beta: float = Field(0.1, gt=0)
    pref_ftx: float = Field(0.0, ge=0)
    pref_bco_weight: float = Field(0.0, ge=0)
    pref_loss: Literal["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"] = "sigmoid"
    dpo_label_smoothing: float = Field(0.0, ge=0, le=0.5)
    ld_alpha: float | None = Field(None, ge=0, le=1)
    simpo_gamma: float = Field(0.5, ge=0)
    kto_chosen_weight: float = Field(1.0, ge=0)
    kto_rejected_weight: float = Field(1.0, ge=0)
    ref_model: str | None = None
    ref_model_adapters: list[str] | None = None
    ref_model_quantization_bit: Literal[4, 8] | None = None
    reward_model: str | None = None
    reward_model_adapters: list[str] | None = None
    reward_model_quantization_bit: Literal[4, 8] | None = None
    reward_model_type: Literal["lora", "full", "api"] = "lora"
    ppo_buffer_size: int = Field(1, ge=1)
    ppo_epochs: int = Field(4, ge=1)
    ppo_score_norm: bool = False
    ppo_target: float = Field(6.0, gt=0)
    ppo_whiten_rewards: bool = False
