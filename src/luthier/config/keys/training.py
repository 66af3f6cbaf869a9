"""Keys of the training run itself: what is done, for how long, in which batches and precision."""

from typing import Any, Literal

from pydantic import Field

from luthier.config.keys.base import Group


class TrainingKeys(Group):
    """Stage, length, batch, precision and seeds."""

    stage: Literal["pt", "sft", "rm", "dpo", "kto", "ppo", "grpo", "kd"] = "sft"
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    output_dir: str | None = None
    overwrite_output_dir: bool = False
    resume_from_checkpoint: str | None = None
    num_train_epochs: float = Field(3.0, gt=0)
    max_steps: int = Field(-1, ge=-1)
    per_device_train_batch_size: int = Field(8, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    auto_find_batch_size: bool = False
    micro_batch_tokens: int | None = Field(None, ge=1)
    group_by_length: bool = False
    train_sampling_strategy: Literal["random", "sequential", "group_by_length"] = "random"
    length_column_name: str = "length"
    average_tokens_across_devices: bool = True
    neftune_noise_alpha: float | None = Field(None, ge=0)
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1)
    use_dft_loss: bool = False
    use_asft_loss: bool = False
    asft_alpha: float = 0.1
    use_eaft_loss: bool = False
    eaft_alpha: float = 1.0
    bf16: bool = False
    fp16: bool = False
    pure_bf16: bool = False
    tf32: bool | None = None
    fp8: bool = False
    fp8_backend: str = "auto"
    fp8_enable_fsdp_float8_all_gather: bool = False
    half_precision_backend: str = "auto"
    seed: int = Field(42, ge=0, lt=2**32)
    data_seed: int | None = Field(None, ge=0, lt=2**32)
    full_determinism: bool = False
    use_cpu: bool = False
    gradient_checkpointing_kwargs: dict[str, Any] | None = None
    use_cache: bool = False
    torch_compile: bool = False
    torch_compile_backend: str | None = None
    torch_compile_mode: str | None = None
    liger_kernel_config: dict[str, Any] | None = None
    torch_empty_cache_steps: int | None = Field(None, ge=1)
    jit_mode_eval: bool = False
    use_ipex: bool = False
