"""Bases in fewer bits: quantization_bit and its kin -> what transformers needs to quantise a model while it loads it.

bitsandbytes does nf4, fp4 and int8, on the CPU too. What cannot be done here is refused before anything is read.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from luthier.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

    from luthier.config import Config

PACKAGES = {
    "gptq": ("gptqmodel", "pip install gptqmodel (needs a GPU)"),
    "awq": ("gptqmodel", "pip install gptqmodel (needs a GPU)"),
    "bitsandbytes": ("bitsandbytes", "pip install 'luthier[bnb]'"),
    "hqq": ("hqq", "pip install hqq"),
    "eetq": ("eetq", "pip install eetq (needs a GPU)"),
    "torchao": ("torchao", "pip install torchao"),
    "compressed-tensors": ("compressed_tensors", "pip install compressed-tensors"),
}
"""quant_method of a stored model -> (package that reads it, how to get it)."""


def quantization(config: Config, stored: PretrainedConfig, dtype: torch.dtype | None) -> Any | None:
    """transformers' quantization_config for the base, or None for one that is loaded as it is stored.

    dtype: of the computation.  Raises ConfigError for bits that no method has, ModelError where a package is missing or the
    files are quantised already.
    """
    method = _stored_method(stored)
    if method:
        _require(method, f"{config.model_name_or_path} is stored as {method}")
    if config.quantization_bit is None:
        return None
    if method:
        raise ModelError(
            f"{config.model_name_or_path} is quantised already ({method}); quantization_bit quantises full weights.",
            "Take quantization_bit out, or name the model with full weights.",
        )
    if config.train_from_scratch:
        raise ConfigError("train_from_scratch has no weights that quantization_bit could quantise.", "Take one of them out.")
    if config.quantization_bit not in (4, 8):
        raise ConfigError(f"quantization_bit: bitsandbytes has 4 and 8 bits, not {config.quantization_bit}.")
    _require("bitsandbytes", f"quantization_bit: {config.quantization_bit}")
    return _bitsandbytes(config, dtype)


def _bitsandbytes(config: Config, dtype: torch.dtype | None) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if config.quantization_bit == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quantization_type,
        bnb_4bit_use_double_quant=config.double_quantization,
        bnb_4bit_compute_dtype=dtype or torch.float32,
    )


def _stored_method(stored: PretrainedConfig) -> str:
    settings = getattr(stored, "quantization_config", None) or {}
    method = settings.get("quant_method", "") if isinstance(settings, dict) else getattr(settings, "quant_method", "")
    return str(getattr(method, "value", method))


def _require(method: str, why: str) -> None:
    package, remedy = PACKAGES.get(method, ("", ""))
    if package and find_spec(package) is None:
        raise ModelError(f"{why}, and {package} is not installed.", remedy)
