"""Keys of the engines that answer: chat, predict and the API."""

from typing import Any, Literal

from pydantic import Field

from luthier.config.keys.base import Group


class ServingKeys(Group):
    """Which engine generates, and its limits."""

    infer_backend: Literal["huggingface", "vllm", "sglang"] = "huggingface"
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    use_kv_cache: bool = True
    vllm_maxlen: int = Field(4096, ge=1)
    vllm_gpu_util: float = Field(0.7, gt=0, lt=1)
    vllm_enforce_eager: bool = False
    vllm_max_lora_rank: int = Field(32, ge=1)
    vllm_config: dict[str, Any] | str | None = None
    sglang_maxlen: int = Field(4096, ge=1)
    sglang_mem_fraction: float = Field(0.7, gt=0, lt=1)
    sglang_tp_size: int = Field(-1, ge=-1)
    sglang_config: dict[str, Any] | str | None = None
    sglang_lora_backend: Literal["triton", "flashinfer"] = "triton"
