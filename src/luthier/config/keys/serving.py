"""Keys of the engines that answer: chat, predict and the API."""

from typing import Any, Literal

from pydantic import Field, SecretStr

from luthier.config.keys.base import Group


class ServingKeys(Group):
    """Which engine generates, who may ask it, and its limits."""

    infer_backend: Literal["huggingface", "vllm", "sglang", "openai"] = "huggingface"
    engine_url: str | None = None
    engine_model: str | None = None
    engine_key: SecretStr | None = None
    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    api_key: SecretStr | None = None
    api_model_name: list[str] | None = None
    api_adapters: list[str] | None = None
    api_origins: list[str] | None = None
    max_concurrent: int = Field(64, ge=1)
    max_queued: int = Field(256, ge=0)
    max_request_mb: float = Field(8, gt=0)
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
    sglang_lora_backend: Literal["triton", "csgmv", "ascend", "torch_native", "flashinfer"] | None = None
