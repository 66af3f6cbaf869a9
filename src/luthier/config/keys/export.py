"""Keys of exporting: merging adapters and writing files that other tools read."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group


class ExportKeys(Group):
    """Where the exported model goes, in which format and size."""

    export_dir: str | None = None
    export_format: Literal["safetensors", "gptq", "awq", "fp8", "int8", "gguf", "gguf_lora", "ollama"] = "safetensors"
    export_gguf_type: Literal[
        "auto", "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q5_1", "q4_k_m", "q4_k_s", "q4_0", "q4_1",
        "iq4_nl", "iq4_xs", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k",
    ] = "auto"  # fmt: skip
    export_size: int = Field(5, ge=1)
    export_device: Literal["cpu", "auto"] = "cpu"
    export_verify: Literal["on", "off"] = "on"
    export_legacy_format: bool = False
    export_hub_model_id: str | None = None
    export_quantization_bit: Literal[2, 3, 4, 8] | None = None
    export_quantization_dataset: str | None = None
    export_quantization_nsamples: int = Field(128, ge=1)
    export_quantization_maxlen: int = Field(1024, ge=1)
