"""Keys of what is written down while a run goes on."""

from typing import Literal

from pydantic import Field, SecretStr

from luthier.config.keys.base import Group


class LoggingKeys(Group):
    """Log intervals, plots, counters and experiment trackers."""

    logging_strategy: Literal["no", "steps", "epoch"] = "steps"
    logging_steps: int | float = Field(500, gt=0)
    logging_first_step: bool = False
    logging_nan_inf_filter: bool = True
    logging_dir: str | None = None
    log_level: Literal["passive", "detail", "debug", "info", "warning", "error", "critical"] = "passive"
    log_level_replica: Literal["passive", "detail", "debug", "info", "warning", "error", "critical"] = "warning"
    log_on_each_node: bool = True
    disable_tqdm: bool | None = None
    plot_loss: bool = False
    include_num_input_tokens_seen: bool = False
    include_tokens_per_second: bool = False
    include_effective_tokens_per_second: bool = False
    skip_memory_metrics: bool = True
    report_to: list[str] = []
    run_name: str | None = None
    project: str = "huggingface"
    trackio_space_id: str | None = None
    trackio_bucket_id: str | None = None
    trackio_static_space_id: str | None = None
    use_swanlab: bool = False
    swanlab_project: str | None = "llamafactory"
    swanlab_workspace: str | None = None
    swanlab_run_name: str | None = None
    swanlab_mode: Literal["cloud", "local"] = "cloud"
    swanlab_api_key: SecretStr | None = None
    swanlab_logdir: str | None = None
    swanlab_lark_webhook_url: SecretStr | None = None
    swanlab_lark_secret: SecretStr | None = None
    enable_torch_profiler: bool = False
    profiler_output_dir: str | None = None
    profiler_wait_steps: int = Field(1, ge=0)
    profiler_warmup_steps: int = Field(1, ge=0)
    profiler_active_steps: int = Field(1, ge=1)
    profiler_repeat: int = Field(1, ge=0)
    profiler_record_shapes: bool = True
    profiler_profile_memory: bool = True
    profiler_with_stack: bool = True
    profile_modules: list[str] | None = None
