"""Keys of the optimizer and the learning-rate schedule."""

from typing import Any, Literal

from pydantic import Field

from luthier.config.keys.base import Group

Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_hf",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adamw_torch_4bit",
    "adamw_torch_8bit",
    "adamw_anyprecision",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "adafactor",
    "adagrad",
    "ademamix",
    "ademamix_8bit",
    "adalomo",
    "apollo_adamw",
    "apollo_adamw_layerwise",
    "galore_adafactor",
    "galore_adafactor_layerwise",
    "galore_adamw",
    "galore_adamw_8bit",
    "galore_adamw_8bit_layerwise",
    "galore_adamw_layerwise",
    "grokadamw",
    "lion_32bit",
    "lion_8bit",
    "lomo",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "rmsprop",
    "rmsprop_bnb",
    "rmsprop_bnb_32bit",
    "rmsprop_bnb_8bit",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "sgd",
    "stable_adamw",
]

Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "polynomial",
    "reduce_lr_on_plateau",
    "warmup_stable_decay",
    "greedy",
]


class OptimizerKeys(Group):
    """How gradients become steps. Defaults are those of transformers' TrainingArguments."""

    learning_rate: float = Field(5e-5, gt=0)
    lr_scheduler_type: Scheduler = "linear"
    lr_scheduler_kwargs: dict[str, Any] | None = None
    warmup_ratio: float = Field(0.0, ge=0, le=1)
    warmup_steps: int | float = Field(0, ge=0)
    optim: Optimizer = "adamw_torch_fused"
    optim_args: str | None = None
    optim_target_modules: list[str] | None = None
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0)
    use_adam_mini: bool = False
    use_muon: bool = False
    use_galore: bool = False
    galore_target: list[str] = Field(["all"], min_length=1)
    galore_rank: int = Field(16, ge=1)
    galore_update_interval: int = Field(200, ge=1)
    galore_scale: float = 2.0
    galore_proj_type: Literal["std", "reverse_std", "right", "left", "full"] = "std"
    galore_layerwise: bool = False
    use_apollo: bool = False
    apollo_target: list[str] = Field(["all"], min_length=1)
    apollo_rank: int = Field(16, ge=1)
    apollo_update_interval: int = Field(200, ge=1)
    apollo_scale: float = 32.0
    apollo_proj: Literal["svd", "random"] = "random"
    apollo_proj_type: Literal["std", "right", "left"] = "std"
    apollo_scale_type: Literal["channel", "tensor"] = "channel"
    apollo_layerwise: bool = False
    apollo_scale_front: bool = False
    use_badam: bool = False
    badam_mode: Literal["layer", "ratio"] = "layer"
    badam_start_block: int | None = None
    badam_switch_mode: Literal["ascending", "descending", "random", "fixed"] | None = "ascending"
    badam_switch_interval: int | None = 50
    badam_update_ratio: float = Field(0.05, gt=0, le=1)
    badam_mask_mode: Literal["adjacent", "scatter"] = "adjacent"
    badam_verbose: int = Field(0, ge=0, le=2)
