"""Keys of learning from preferences, rewards and teachers: rm, dpo, kto, ppo, grpo, kd."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group

PrefLoss = Literal["sigmoid", "hinge", "ipo", "robust", "kto_pair", "orpo", "simpo", "cpo"]


class PreferenceKeys(Group):
    """Losses over pairs, rated answers and rewards; reference, reward and teacher models."""

    pref_beta: float = Field(0.1, gt=0)
    pref_ftx: float = Field(0.0, ge=0)
    pref_bco_weight: float = Field(0.0, ge=0)
    pref_loss: list[PrefLoss] = Field(["sigmoid"], min_length=1)
    pref_loss_weights: list[float] | None = None
    dpo_label_smoothing: float = Field(0.0, ge=0, le=0.5)
    ld_alpha: float | None = Field(None, ge=0, le=1)
    simpo_gamma: float = Field(0.5, ge=0)
    kto_chosen_weight: float = Field(1.0, ge=0)
    kto_rejected_weight: float = Field(1.0, ge=0)
    ref_model: str | None = None
    ref_model_adapters: list[str] | None = None
    ref_model_quantization_bit: Literal[4, 8] | None = None
    precompute_ref_log_probs: bool = False
    reward_model: str | None = None
    reward_model_adapters: list[str] | None = None
    reward_model_quantization_bit: Literal[4, 8] | None = None
    reward_model_type: Literal["lora", "full", "api"] = "lora"
    ppo_buffer_size: int = Field(1, ge=1)
    ppo_epochs: int = Field(4, ge=1)
    ppo_score_norm: bool = False
    ppo_target: float = Field(6.0, gt=0)
    ppo_whiten_rewards: bool = False
    teacher_model: str | None = None
    teacher_model_adapters: list[str] | None = None
    kd_alpha: float = Field(1.0, ge=0, le=1)
    kd_beta: float = Field(0.0, ge=0, le=1)
    kd_temperature: float = Field(1.0, gt=0)
    reward_funcs: list[str] | None = None
    reward_weights: list[float] | None = None
    num_generations: int = Field(8, ge=2)
    num_iterations: int = Field(1, ge=1)
    grpo_loss: Literal["grpo", "dr_grpo", "dapo", "gspo"] = "grpo"
    grpo_beta: float = Field(0.0, ge=0)
    grpo_epsilon: float = Field(0.2, gt=0)
    grpo_epsilon_high: float | None = Field(None, gt=0)
