"""Keys of exporting: merging adapters and writing files that other tools read."""

from typing import Literal

from pydantic import Field

from luthier.config.keys.base import Group


class ExportKeys(Group):
    """Where the exported model goes, in which format and size."""

    export_dir: str | None = None
    export_format: str = "safetensors"
    export_size: int = Field(5, ge=1)
    export_device: Literal["cpu", "auto"] = "cpu"
    export_verify: Literal["on", "off"] = "on"
    export_legacy_format: bool = False
    export_hub_model_id: str | None = None
    export_quantization_bit: Literal[2, 3, 4, 8] | None = None
    export_quantization_dataset: str | None = None
    export_quantization_nsamples: int = Field(128, ge=1)
    export_quantization_maxlen: int = Field(1024, ge=1)
