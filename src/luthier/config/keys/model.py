"""Keys that say which model is loaded and how."""

from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from luthier.config.keys.base import Group


class ModelKeys(Group):
    """The model, its adapters, its tokenizer, and how its layers compute."""

    model_name_or_path: str | None = None
    adapter_name_or_path: list[str] | None = None
    adapter_folder: str | None = None
    hub: Literal["auto", "huggingface", "modelscope"] = "auto"
    model_revision: str = "main"
    cache_dir: str | None = None
    trust_remote_code: bool = False
    train_from_scratch: bool = False
    use_fast_tokenizer: bool = True
    split_special_tokens: bool = False
    resize_vocab: bool = False
    add_tokens: list[str] | None = None
    add_special_tokens: list[str] | None = None
    new_special_tokens_config: str | None = None
    init_special_tokens: Literal["noise_init", "desc_init", "desc_init_w_noise"] = "noise_init"
    flash_attn: Literal["auto", "disabled", "eager", "sdpa", "fa2", "fa3"] = "auto"
    rope_scaling: Literal["linear", "dynamic", "yarn", "llama3"] | None = None
    shift_attn: bool = False
    mixture_of_depths: Literal["convert", "load"] | None = None
    moe_aux_loss_coef: float | None = Field(None, ge=0)
    enable_liger_kernel: bool = False
    use_unsloth: bool = False
    use_unsloth_gc: bool = False
    use_v1_kernels: bool | None = False
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    disable_gradient_checkpointing: bool = False
    use_reentrant_gc: bool = True
    upcast_layernorm: bool = False
    upcast_lmhead_output: bool = False
    low_cpu_mem_usage: bool = True
    offload_folder: str = "offload"
    print_param_status: bool = False
    hf_hub_token: SecretStr | None = None
    ms_hub_token: SecretStr | None = None
    om_hub_token: SecretStr | None = None

    @model_validator(mode="after")
    def _settle_checkpointing(self) -> Any:
        """disable_gradient_checkpointing is LLaMA-Factory's word for gradient_checkpointing: off; readers look at one key."""
        if self.disable_gradient_checkpointing and self.gradient_checkpointing == "auto":
            object.__setattr__(self, "gradient_checkpointing", "off")
        return self
