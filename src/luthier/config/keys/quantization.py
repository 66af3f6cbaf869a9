"""Keys that load the base model in fewer bits."""

from typing import Literal

from luthier.config.keys.base import Group


class QuantizationKeys(Group):
    """Quantisation of the base model while it is loaded."""

    quantization_method: Literal["bnb", "hqq", "eetq", "torchao"] = "bnb"
    quantization_bit: Literal[1, 2, 3, 4, 5, 6, 8] | None = None
    quantization_type: Literal["fp4", "nf4"] = "nf4"
    double_quantization: bool = True
    quantization_device_map: Literal["auto"] | None = None
