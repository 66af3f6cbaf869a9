"""Bases in fewer bits: quantization_method and quantization_bit -> what transformers needs to quantise while it loads.

bitsandbytes (nf4, fp4, int8) and torchao (int8) work on the CPU too, and so does HQQ (models/hqq.py); EETQ needs a GPU. What
cannot be done here is refused before anything is read.
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
    "gptq": ("gptqmodel", "pip install gptqmodel"),
    "awq": ("gptqmodel", "pip install gptqmodel"),
    "aqlm": ("aqlm", "pip install 'aqlm[gpu]' (needs a GPU)"),
    "bitsandbytes": ("bitsandbytes", "pip install 'luthier[bnb]'"),
    "hqq": ("hqq", "pip install 'luthier[hqq]'"),
    "eetq": ("eetq", "pip install eetq kernels"),
    "torchao": ("torchao", "pip install 'luthier[torchao]'"),
    "compressed-tensors": ("compressed_tensors", "pip install compressed-tensors"),
}
"""quant_method of a stored model, or what quantises a full one -> (package that reads it, how to get it)."""

METHODS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq", "torchao": "torchao"}
"""quantization_method -> its name in PACKAGES."""

BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,), "torchao": (8,)}


def quantization(config: Config, stored: PretrainedConfig, dtype: torch.dtype | None) -> Any | None:
    """transformers' quantization_config for the base; None for one that is loaded as it is stored (HQQ comes after loading).

    dtype: of the computation.  Raises ConfigError for bits that the method has not, ModelError where a package or a GPU is
    missing or the files are quantised already.
    """
    there = _stored_method(stored)
    if there:
        _require(there, f"{config.model_name_or_path} is stored as {there}")
    bits, method = config.quantization_bit, config.quantization_method
    if bits is None:
        return None
    if there:
        raise ModelError(
            f"{config.model_name_or_path} is quantised already ({there}); quantization_bit quantises full weights.",
            "Take quantization_bit out, or name the model with full weights.",
        )
    if config.train_from_scratch:
        raise ConfigError("train_from_scratch has no weights that quantization_bit could quantise.", "Take one of them out.")
    if bits not in BITS[method]:
        has = " and ".join(str(number) for number in BITS[method])
        raise ConfigError(f"quantization_bit: {METHODS[method]} has {has} bits, not {bits}.")
    _require(METHODS[method], f"quantization_bit: {bits} with quantization_method: {method}")
    return {"bnb": _bnb, "torchao": _torchao, "eetq": _eetq, "hqq": _nothing}[method](config, dtype)


def _bnb(config: Config, dtype: torch.dtype | None) -> Any:
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


def _nothing(config: Config, dtype: torch.dtype | None) -> None:
    return None


def _torchao(config: Config, dtype: torch.dtype | None) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig(version=2))


def _eetq(config: Config, dtype: torch.dtype | None) -> Any:
    import torch
    from transformers import EetqConfig

    if not torch.cuda.is_available():
        raise ModelError(
            "quantization_method: eetq needs an NVIDIA GPU, and there is none here.",
            "quantization_method: bnb, hqq or torchao work on the CPU too.",
        )
    return EetqConfig("int8")


def _stored_method(stored: PretrainedConfig) -> str:
    settings = getattr(stored, "quantization_config", None) or {}
    method = settings.get("quant_method", "") if isinstance(settings, dict) else getattr(settings, "quant_method", "")
    return str(getattr(method, "value", method))


def _require(method: str, why: str) -> None:
    package, remedy = PACKAGES.get(method, ("", ""))
    if package and find_spec(package) is None:
        raise ModelError(f"{why}, and {package} is not installed.", remedy)
