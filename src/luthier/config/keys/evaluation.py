"""Keys of evaluation: during training, after it, and on benchmarks."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group


class EvaluationKeys(Group):
    """When the eval set is scored, with what, and what follows from the score."""

    eval_strategy: Literal["no", "steps", "epoch"] = "no"
    eval_steps: int | float | None = Field(None, gt=0)
    eval_delay: int | float = Field(0, ge=0)
    eval_on_start: bool = False
    per_device_eval_batch_size: int = Field(8, ge=1)
    eval_accumulation_steps: int | None = Field(None, ge=1)
    compute_accuracy: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    load_best_model_at_end: bool = False
    early_stopping_steps: int | None = Field(None, ge=1)
    prediction_loss_only: bool = False
    batch_eval_metrics: bool = False
    bf16_full_eval: bool = False
    fp16_full_eval: bool = False
    eval_do_concat_batches: bool = True
    eval_use_gather_object: bool = False
    include_for_metrics: list[str] | None = None
    include_inputs_for_metrics: bool = False
    task: str | None = None
    task_dir: str = "evaluation"
    batch_size: int = Field(4, ge=1)
    lang: Literal["en", "zh"] = "en"
    n_shot: int = Field(5, ge=0)
    save_dir: str | None = None
    models: list[str] | None = None
    download_mode: str = "reuse_dataset_if_exists"
