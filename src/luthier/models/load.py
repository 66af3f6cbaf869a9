"""Model folder -> transformers model on a device.

Enters: the config and a device and dtype chosen by runtime/. Leaves: a PreTrainedModel with every weight loaded.
Never: reads pickled weights or runs a repository's code unless trust_remote_code is set; leaves a weight at its random start.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import ModelError
from luthier.hub import resolve_model
from luthier.models.kernels import require_kernels, use_kernels
from luthier.models.quantize import after_loading, check_bits, keep_layout, rounds_after, while_loading
from luthier.models.rope import scale_rope
from luthier.models.tokenizer import load_tokenizer
from luthier.models.vocabulary import grow, new_words
from luthier.models.weights import check_weights, first_line, weight_bytes
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from luthier.config import Config

log = logging.getLogger(__name__)

ATTENTION = {
    "auto": None,
    "disabled": "eager",
    "eager": "eager",
    "sdpa": "sdpa",
    "fa2": "flash_attention_2",
    "fa3": "flash_attention_3",
}
LONG_LOAD = 1 << 30  # bytes of weights from which loading shows a bar


def load_config_of_model(config: Config, folder: Path | None = None) -> PretrainedConfig:
    """The transformers configuration of model_name_or_path (of folder, if given); reads config.json only."""
    from transformers import AutoConfig

    folder = folder or resolve_model(_name(config), config)
    raw = _read_config_json(folder)
    if "auto_map" in raw and not config.trust_remote_code and not _known(raw.get("model_type")):
        raise ModelError(
            f'{folder} is a "{raw.get("model_type")}" model that brings its own code, which would run on this machine.',
            "Read its *.py files; if you trust them, set trust_remote_code: true",
        )
    if not _known(raw.get("model_type")) and not config.trust_remote_code:
        from transformers import __version__

        raise ModelError(
            f'{folder}/config.json has model_type "{raw.get("model_type")}", unknown to transformers {__version__}.',
            "If the model is new: pip install -U transformers",
        )
    try:
        loaded = AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code, local_files_only=True)
    except (ValueError, OSError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}/config.json cannot be used: {first_line(error)}") from error
    scale_rope(config, loaded)
    return loaded


def load_model(
    config: Config,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    for_training: bool = False,
    whole: bool = False,
) -> PreTrainedModel:
    """The model of model_name_or_path with its weights, in dtype (None: as stored) on device, in train or eval mode.

    whole: one that is stored in few bits gets full weights, so that an adapter can be merged into them.
    train_from_scratch: random weights of the same shape, from the seed that runtime/seeds.py set.
    """
    folder = resolve_model(_name(config), config)
    model_config = load_config_of_model(config, folder)
    _require_causal(folder, model_config)
    check_bits(config, model_config)
    require_kernels(config, device)
    if config.train_from_scratch:
        model = _from_scratch(config, model_config, device, dtype)
    else:
        model = _from_files(config, folder, model_config, device, dtype, whole)
    if config.resize_vocab or new_words(config):
        grow(model, load_tokenizer(config, folder), config)
    use_kernels(config, model)
    if for_training:
        keep_layout(model)
    return model.train(for_training)


def _from_scratch(config: Config, model_config: PretrainedConfig, device: Any, dtype: Any) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    options = {"trust_remote_code": config.trust_remote_code, "attn_implementation": _attention(config)}
    return AutoModelForCausalLM.from_config(model_config, dtype=dtype, **options).to(device)


def _from_files(
    config: Config, folder: Path, model_config: PretrainedConfig, device: Any, dtype: Any, whole: bool
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    safe = check_weights(folder, allow_pickle=config.trust_remote_code)
    bits = while_loading(config, model_config, dtype, whole=whole)
    placed = {"": device} if bits is not None or (str(device) != "cpu" and not rounds_after(config)) else None
    try:
        with quiet_transformers(bars=weight_bytes(folder) > LONG_LOAD):
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=model_config,
                dtype=dtype or "auto",
                use_safetensors=safe,
                weights_only=True,
                trust_remote_code=config.trust_remote_code,
                attn_implementation=_attention(config),
                device_map=placed,
                quantization_config=bits,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with both shapes
            )
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    _require_all_weights(folder, report)
    return after_loading(config, model, device=device, dtype=dtype, whole=whole)


def _require_all_weights(folder: Path, report: dict[str, Any]) -> None:
    """ModelError if a weight was not in the files or had another shape: it would have stayed random."""
    again = "Its config.json and its weights do not belong together: download or copy the model again."
    if mismatched := sorted(report["mismatched_keys"]):
        name, stored, expected = mismatched[0]
        raise ModelError(
            f"{folder}: {name} is {list(stored)} in the files, config.json asks for {list(expected)} "
            f"({len(mismatched)} weights differ).",
            again,
        )
    if missing := sorted(report["missing_keys"]):
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelError(f"{folder} lacks weights of its own architecture: {shown}.", again)


def _attention(config: Config) -> str | None:
    """transformers' name for flash_attn; None leaves the choice to the architecture."""
    from importlib.util import find_spec

    if config.flash_attn == "fa2" and find_spec("flash_attn") is None:
        log.warning(
            "flash_attn: fa2 needs the flash-attn package (GPU only), which is not installed: PyTorch's own attention is used."
        )
        return "sdpa"
    if config.flash_attn == "fa3" and find_spec("flash_attn_interface") is None:
        raise ModelError(
            "flash_attn: fa3 needs FlashAttention 3 (an NVIDIA Hopper GPU and its package), which is not installed.",
            "flash_attn: auto takes what is there.",
        )
    return ATTENTION[config.flash_attn]


def _read_config_json(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{folder} holds an adapter, not a model.",
                f"Give its base as model_name_or_path and adapter_name_or_path: {folder}",
            )
        raise ModelError(f"{folder} is not a model folder: config.json is missing.", f"It holds: {_listing(folder)}")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON: {error}", "Download or copy it again.") from error
    if not isinstance(raw, dict):
        raise ModelError(f"{file} holds a {type(raw).__name__}, not a mapping.", "Download or copy it again.")
    return raw


def _require_causal(folder: Path, model_config: PretrainedConfig) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(model_config, "auto_map", None):
        return
    raise ModelError(
        f'{folder} is a "{model_config.model_type}" model, which does not generate text.',
        "Luthier fine-tunes causal language models (Qwen3, Llama, GLM, DeepSeek ...).",
    )


def _known(model_type: str | None) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def _name(config: Config) -> str:
    if not config.model_name_or_path:
        raise ModelError("no model is given.", "model_name_or_path: starter, a folder, or a hub id")
    return config.model_name_or_path


def _listing(folder: Path) -> str:
    names = sorted(child.name for child in folder.iterdir())
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "nothing"
