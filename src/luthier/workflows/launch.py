"""vLLM or SGLang started as Luthier would serve: the same model, adapters, template, limits and key.

Enters: the config. Leaves: that server's exit code. Never: installs anything.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from luthier.config import Config
from luthier.engines.runner import context_length
from luthier.errors import ConfigError, ModelError
from luthier.hub import resolve_adapter, resolve_model
from luthier.models.load import load_config_of_model
from luthier.workflows.answering import load_words, settle

log = logging.getLogger(__name__)


def serve_with(config: Config) -> int:
    """Start the server of config.infer_backend and wait for its end."""
    engine = config.infer_backend
    if engine == "openai":
        raise ConfigError("infer_backend is openai: that server answers already.", "luthier chat and predict can use it.")
    if config.api_host not in ("localhost", "127.0.0.1", "::1") and not config.secret("api_key"):
        raise ConfigError(f"api_host is {config.api_host}, so other machines could ask: a key is required.", "--api-key KEY")
    if not find_spec(engine):
        raise ConfigError(f"{engine} is not installed.", f"pip install {engine}   (or serve with the engine of Luthier)")
    config = settle(config if config.model_name_or_path or config.adapter_name_or_path else _starter(config))
    with tempfile.TemporaryDirectory(prefix="luthier-serve-") as folder:
        command = COMMANDS[engine](config, write_template(config, Path(folder)))
        shown = ["***" if previous == "--api-key" else word for previous, word in zip(["", *command], command)]
        log.info("%s", " ".join(shown))
        return subprocess.run(command, check=False, env=_environment(config)).returncode


def write_template(config: Config, folder: Path) -> Path | None:
    """The chat template as a file where it is not the tokenizer's own; None where it is."""
    tokenizer, template = load_words(config)
    if template.name == "auto" or template.jinja() == tokenizer.chat_template:
        return None
    file = folder / "chat_template.jinja"
    file.write_text(template.jinja(), encoding="utf-8")
    return file


def vllm_command(config: Config, template: Path | None) -> list[str]:
    """The command line of vLLM's own OpenAI server."""
    adapters = _adapters(config)
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *_common(config, "--model")]
    words += ["--max-model-len", str(_length(config, "vllm_maxlen")), "--gpu-memory-utilization", str(config.vllm_gpu_util)]
    words += ["--max-num-seqs", str(config.max_concurrent)]
    words += ["--dtype", config.infer_dtype] if config.infer_dtype != "auto" else []
    words += ["--enforce-eager"] if config.vllm_enforce_eager else []
    words += ["--trust-remote-code"] if config.trust_remote_code else []
    words += ["--chat-template", str(template)] if template else []
    if adapters:
        words += ["--enable-lora", "--max-lora-rank", str(_lora_rank(config, adapters.values())), "--lora-modules"]
        words += [f"{name}={path}" for name, path in adapters.items()]
    return words + _further(config.vllm_config, "vllm_config")


def sglang_command(config: Config, template: Path | None) -> list[str]:
    """The command line of SGLang's own OpenAI server."""
    adapters = _adapters(config)
    words = [sys.executable, "-m", "sglang.launch_server", *_common(config, "--model-path")]
    words += ["--api-key", key] if (key := config.secret("api_key")) else []
    words += [
        "--context-length",
        str(_length(config, "sglang_maxlen")),
        "--mem-fraction-static",
        str(config.sglang_mem_fraction),
    ]
    words += ["--max-running-requests", str(config.max_concurrent), "--tp-size", str(_num_gpus(config.sglang_tp_size))]
    words += ["--dtype", config.infer_dtype] if config.infer_dtype != "auto" else []
    words += ["--trust-remote-code"] if config.trust_remote_code else []
    words += ["--chat-template", str(template)] if template else []
    if adapters:
        words += ["--lora-backend", config.sglang_lora_backend] if config.sglang_lora_backend else []
        words += ["--lora-paths", *(f"{name}={path}" for name, path in adapters.items())]
    return words + _further(config.sglang_config, "sglang_config")


COMMANDS: Mapping[str, Callable[[Config, Path | None], list[str]]] = {"vllm": vllm_command, "sglang": sglang_command}


def _common(config: Config, model: str) -> list[str]:
    folder, names = resolve_model(config.model_name_or_path or "", config), [Path(config.model_name_or_path or "").name]
    if config.api_model_name and not config.adapter_name_or_path:
        # SGLang takes one name, vLLM several
        names = [*names, *config.api_model_name] if config.infer_backend == "vllm" else config.api_model_name[:1]
    return [model, str(folder), "--served-model-name", *names, "--host", config.api_host, "--port", str(config.api_port)]


def _length(config: Config, key: str) -> int:
    """Longest prompt plus answer: that of the config, or what the model was made for where that is less (both refuse more)."""
    wanted = getattr(config, key)
    try:
        most = context_length(load_config_of_model(config))
    except ModelError:  # an architecture that only the server knows
        return wanted
    if most and most < wanted and not config.rope_scaling:
        log.info("%s: %d tokens, which is what the model was made for", key, most)
        return most
    return wanted


def _environment(config: Config) -> dict[str, str]:
    """vLLM reads its key from here, where no list of processes shows it; SGLang has only a flag."""
    key = config.secret("api_key")
    return {**os.environ, "VLLM_API_KEY": key} if key and config.infer_backend == "vllm" else dict(os.environ)


def _lora_rank(config: Config, folders: Iterable[Path]) -> int:
    """The least rank that vLLM has kernels for and that holds every adapter; vllm_max_lora_rank where that is more."""
    ranks = [json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("r", 1) for folder in folders]
    wanted = max(config.vllm_max_lora_rank, *ranks)
    return next((rank for rank in VLLM_RANKS if rank >= wanted), wanted)


VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def _adapters(config: Config) -> dict[str, Path]:
    """Adapters by the names that clients use."""
    given = config.adapter_name_or_path or []
    if len(given) > 1:
        raise ConfigError(
            f"adapter_name_or_path names {len(given)} adapters on top of each other, which {config.infer_backend} cannot do.",
            "Merge them first (luthier export), or serve each as a model of its own: api_adapters",
        )
    found = {Path(name).name: resolve_adapter(name, config) for name in given}
    for entry in config.api_adapters or ():
        name, equals, folder = entry.partition("=")
        path = resolve_adapter(folder if equals else entry, config)
        found[name if equals else path.name] = path
    return found


def _further(options: dict[str, Any] | str | None, key: str) -> list[str]:
    """{"max_num_batched_tokens": 4096, "enable_x": true} -> --max-num-batched-tokens 4096 --enable-x"""
    try:
        pairs = json.loads(options) if isinstance(options, str) else options or {}
    except ValueError as error:
        raise ConfigError(f"{key} is no JSON: {error}") from None
    words: list[str] = []
    for name, value in pairs.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if value else []
        else:
            words += [flag, json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
    return words


def _num_gpus(wanted: int) -> int:
    if wanted > 0:
        return wanted
    import torch

    return max(1, torch.cuda.device_count())


def _starter(config: Config) -> Config:
    return config.model_copy(update={"model_name_or_path": "starter"})
