"""Keys that choose the data and its length."""

from typing import Any, Literal

from pydantic import Field

from luthier.config.keys.base import Group


class DataKeys(Group):
    """Datasets, their mixture, the split, length, packing and caching."""

    dataset: list[str] | None = None
    eval_dataset: list[str] | None = None
    dataset_dir: dict[str, Any] | str = "data"
    max_samples: int | None = Field(None, ge=1)
    max_samples_shuffle: bool = False
    val_size: float = Field(0.0, ge=0)
    eval_on_each_dataset: bool = False
    mix_strategy: Literal["concat", "interleave_under", "interleave_over", "interleave_once"] = "concat"
    interleave_probs: list[float] | None = None
    streaming: bool = False
    buffer_size: int = Field(16384, ge=1)
    on_bad_row: Literal["error", "skip"] = "error"
    cutoff_len: int = Field(2048, ge=2)
    overflow: Literal["truncate", "drop", "split", "error"] = "truncate"
    packing: bool | None = None
    neat_packing: bool = False
    train_on_prompt: bool = False
    mask_history: bool = False
    ignore_pad_token_for_loss: bool = True
    disable_shuffling: bool = False
    overwrite_cache: bool = False
    tokenized_path: str | None = None
    preprocessing_batch_size: int = Field(1000, ge=1)
    preprocessing_num_workers: int | None = Field(None, ge=1)
    data_shared_file_system: bool = False
