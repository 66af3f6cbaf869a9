"""Bases in fewer bits: quantization_method and quantization_bit, or how the files are stored -> what transformers is told.

bitsandbytes (nf4, fp4, int8) and torchao (int8) work on the CPU too, and so do what is rounded after loading (models/hqq.py,
models/int4.py) and models stored by GPTQ and AWQ (models/stored.py); EETQ needs a GPU. What cannot be done here is refused
before anything is read.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from luthier.errors import ConfigError, ModelError
from luthier.registry import Registry

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from luthier.config import Config

PACKAGES = {
    "aqlm": ("aqlm", "pip install 'aqlm[gpu]' (needs a GPU)"),
    "bitsandbytes": ("bitsandbytes", "pip install 'luthier[bnb]'"),
    "hqq": ("hqq", "pip install 'luthier[hqq]'"),
    "eetq": ("eetq", "pip install eetq kernels"),
    "torchao": ("torchao", "pip install 'luthier[torchao]'"),
    "compressed-tensors": ("compressed_tensors", "pip install compressed-tensors"),
    "auto-round": ("auto_round", "pip install auto-round"),
}
"""quant_method of a stored model, or what quantises a full one -> (package that reads it, how to get it)."""

METHODS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq", "torchao": "torchao"}
"""quantization_method -> its name in PACKAGES."""

BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,), "torchao": (4, 8)}

ROUNDERS = Registry("quantization_method", {"hqq": "luthier.models.hqq:quantise", "torchao": "luthier.models.int4:quantise"})
"""What replaces the layers of a loaded model, where loading itself does not round them."""

PACKED = ("gptq", "awq")
"""quant_method of files that models/stored.py reads."""

WHOLE = ("fp8", "mxfp8", "mxfp4", "compressed-tensors")
"""quant_method of files whose weights become full ones while they are loaded: what reads them packed can only answer."""


def rounds_after(config: Config) -> bool:
    """Whether the full weights are loaded first and rounded then (bitsandbytes, and torchao in 8 bits, do it on the way)."""
    return (config.quantization_method, config.quantization_bit) == ("torchao", 4) or (
        config.quantization_method == "hqq" and config.quantization_bit is not None
    )


def check_bits(config: Config, stored: PretrainedConfig) -> None:
    """Raises ConfigError for bits that the method has not, ModelError where a package is missing or the files do not fit the
    keys. stored: the model's own configuration."""
    there, bits, method = stored_method(stored), config.quantization_bit, config.quantization_method
    name = config.model_name_or_path
    if there:
        _require(there, f"{name} is stored as {there}")
        if bits is not None:
            raise ModelError(
                f"{name} is quantised already ({there}); quantization_bit quantises full weights.",
                "Take quantization_bit out, or name the model with full weights.",
            )
        if config.do_train and there not in WHOLE and config.finetuning_type not in ("lora", "oft"):
            raise ModelError(
                f"{name} is stored as {there}: rounded weights cannot learn (finetuning_type: {config.finetuning_type}).",
                "finetuning_type: lora, or name the model with full weights.",
            )
        if there in PACKED:
            from luthier.models.stored import settings_of

            settings_of(_settings(stored), whole=False)  # refuses layouts that are not read
    if bits is None:
        return
    if config.train_from_scratch:
        raise ConfigError("train_from_scratch has no weights that quantization_bit could quantise.", "Take one of them out.")
    if bits not in BITS[method]:
        has = " and ".join(str(number) for number in BITS[method])
        raise ConfigError(f"quantization_bit: {METHODS[method]} has {has} bits, not {bits}.")
    _require(METHODS[method], f"quantization_bit: {bits} with quantization_method: {method}")


def while_loading(config: Config, stored: PretrainedConfig, dtype: torch.dtype | None, *, whole: bool) -> Any | None:
    """transformers' quantization_config for the base; None for one that is loaded as it is stored, or rounded afterwards.

    stored: the model's own configuration, whose quantization_config is changed to what is wanted of the files.
    dtype: of the computation.  whole: give a stored quantised model its full weights.
    """
    there = stored_method(stored)
    if there in PACKED:
        from luthier.models.stored import settings_of

        stored.quantization_config = settings_of(_settings(stored), whole=whole)
    elif there in WHOLE:
        stored.quantization_config = {**_settings(stored), "dequantize": True}
    if config.quantization_bit is None or rounds_after(config):
        return None
    return {"bnb": _bnb, "torchao": _torchao, "eetq": _eetq}[config.quantization_method](config, dtype)


def after_loading(
    config: Config, model: PreTrainedModel, *, device: str | torch.device, dtype: torch.dtype | None, whole: bool
) -> PreTrainedModel:
    """The model with its layers rounded, where loading has not done it; with full weights, where they are wanted."""
    if rounds_after(config):
        return ROUNDERS[config.quantization_method](model, config.quantization_bit, device=device, dtype=dtype)
    if whole and getattr(model, "is_quantized", False):
        try:
            return model.dequantize(dtype)
        except NotImplementedError as error:
            raise ModelError(
                f"{config.model_name_or_path} is stored as {stored_method(model.config)}: its full weights are gone.",
                "Give the same model with full weights as model_name_or_path: the adapter fits it.",
            ) from error
    return model


def keep_layout(model: PreTrainedModel) -> None:
    """For a model that will learn. On a CPU with AVX512-BF16 bitsandbytes lays 4 bits out anew when a layer first answers, in
    evaluations too: scales are rounded to bfloat16 for good, and no gradient passes through that layout."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


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


def stored_method(stored: PretrainedConfig) -> str:
    """quant_method of a model's own configuration; "" for full weights."""
    return str(getattr(method := _settings(stored).get("quant_method", ""), "value", method))


def _settings(stored: PretrainedConfig) -> dict[str, Any]:
    settings = getattr(stored, "quantization_config", None) or {}
    return settings if isinstance(settings, dict) else settings.to_dict()


def _require(method: str, why: str) -> None:
    package, remedy = PACKAGES.get(method, ("", ""))
    if package and find_spec(package) is None:
        raise ModelError(f"{why}, and {package} is not installed.", remedy)
