"""What predict and chat have in common: the model that answers, in the template that it was trained with.

Enters: the config. Leaves: tokenizer, template and engine. Never: trains, or answers in another template than the recorded one
without saying so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.engines.base import Engine, Sampling
from luthier.errors import ConfigError, ModelError
from luthier.hub import resolve_adapter, resolve_model
from luthier.templates import find_template
from luthier.workflows.keep import RECORD

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from luthier.adapters.base import Adapter
    from luthier.models.score import Scorer
    from luthier.templates.base import Template

log = logging.getLogger(__name__)

FOLLOWED = ("template", "enable_thinking", "preserve_thinking", "default_system")
"""Keys that are taken from the record of a training where the user does not set them."""

ENGINE_KEY = "ENGINE_KEY"
"""The environment variable that holds the key of a server, where the configuration has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """A loaded model, or one behind a server.

    adapter: the method that can switch the adapter off; None where no adapter is attached.  net: None for a server's.
    tokenizer: None where the server writes the conversations itself.
    """

    config: Config
    tokenizer: PreTrainedTokenizerBase | None
    template: Template
    net: nn.Module | None
    adapter: Adapter | None
    engine: Engine
    describes: str


def settle(config: Config) -> Config:
    """The config with what can be known from the files: the base of an adapter, the template of the training.

    A model_name_or_path that is an adapter's folder is taken as the adapter.
    """
    base, adapters = config.model_name_or_path, list(config.adapter_name_or_path or [])
    if base and _is_adapter(base):
        base, adapters = None, [*adapters, base]
    if adapters and not base:
        base = base_of(resolve_adapter(adapters[-1], config))
    config = config.model_copy(update={"model_name_or_path": base, "adapter_name_or_path": adapters or None})
    return config.model_copy(update=recorded(config))


def base_of(adapter: Path) -> str:
    """The name of the model that an adapter was trained on."""
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    name = settings.get("base_model_name_or_path") or read_record(adapter).get("base_model")
    if not name:
        raise ModelError(f"{adapter} does not say which model it was trained on.", "Give it: model_name_or_path")
    return name


def read_record(folder: Path) -> Mapping[str, Any]:
    """How the model or adapter in folder was trained; {} where nobody wrote it down."""
    file = folder / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON: {error}", "Delete it, and give template yourself.") from error
    return record if isinstance(record, dict) else {}


def recorded(config: Config) -> dict[str, Any]:
    """The keys to follow of the newest training that config answers with. Warns where the user sets one otherwise."""
    if config.adapter_name_or_path:
        folder = resolve_adapter(config.adapter_name_or_path[-1], config)
    elif config.model_name_or_path:
        folder = resolve_model(config.model_name_or_path, config)
    else:
        return {}
    record = read_record(folder)
    trained = record.get("template", {})
    changes = {key: value for key, value in record.get("model_keys", {}).items() if key not in config.model_fields_set}
    for key in (key for key in FOLLOWED if key in trained):
        if key not in config.model_fields_set:
            changes[key] = trained[key]
        elif _plain(getattr(config, key)) != _plain(trained[key]):
            log.warning(
                "%s was trained with %s: %s and will answer with %s: its answers may be worse for it.",
                folder, key, _plain(trained[key]), _plain(getattr(config, key)),
            )  # fmt: skip
    return changes


def load_words(config: Config) -> tuple[PreTrainedTokenizerBase, Template]:
    """Tokenizer and template of a settled config."""
    from luthier.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(config)
    return tokenizer, find_template(config, tokenizer)


def load_answerer(
    config: Config, tokenizer: PreTrainedTokenizerBase, template: Template, *, keep_adapter: bool = True
) -> Answerer:
    """The model of a settled config with its adapters, ready to answer.

    keep_adapter False: merge it where that costs no precision (float32 weights): answers come faster.
    """
    if config.infer_backend != "huggingface":
        return remote_answerer(config, tokenizer, template)
    import torch

    from luthier.adapters import ADAPTERS
    from luthier.engines.hf import HFEngine
    from luthier.models.layout import lay_out_for_answers
    from luthier.models.load import load_config_of_model, load_model
    from luthier.runtime.device import pick_device
    from luthier.runtime.precision import inference_precision

    device = pick_device(config)
    precision = inference_precision(config, device, getattr(load_config_of_model(config), "dtype", None))
    if precision.note:
        log.warning("%s", precision.note)
    net: nn.Module = load_model(config, device=device.torch, dtype=precision.param_dtype)
    rounded, adapter = getattr(net, "is_quantized", False), None
    if config.adapter_name_or_path:
        adapter = ADAPTERS[config.finetuning_type](config)
        net = adapter.attach(net, trainable=False)
        if not keep_adapter and precision.param_dtype == torch.float32 and not rounded:
            net, adapter = adapter.merge(net), None
    lay_out_for_answers(net)
    names = [config.model_name_or_path, *(config.adapter_name_or_path or [])]
    return Answerer(
        config=config,
        tokenizer=tokenizer,
        template=template,
        net=net.eval(),
        adapter=adapter,
        engine=HFEngine(net, tokenizer, template.stop_token_ids),
        describes=f"{' + '.join(map(str, names))} ({precision} on {device.name or device}, template {template.name})",
    )


def remote_answerer(
    config: Config, tokenizer: PreTrainedTokenizerBase | None = None, template: Template | None = None
) -> Answerer:
    """A model behind engine_url. Without a tokenizer the server writes the conversations in its own template."""
    from luthier.engines.openai import OpenAIEngine
    from luthier.workflows.remote import RemoteTemplate

    if config.infer_backend != "openai":
        raise ConfigError(
            f"infer_backend {config.infer_backend} answers as a server.",
            f"Start it (luthier serve --engine {config.infer_backend}) and ask it: "
            "--infer_backend openai --engine_url http://127.0.0.1:8000/v1",
        )
    if not config.engine_url:
        raise ConfigError("infer_backend is openai, but no server is named.", "engine_url: http://localhost:11434/v1")
    key = config.secret("engine_key") or os.environ.get(ENGINE_KEY)
    engine = OpenAIEngine(config.engine_url, model=config.engine_model, key=key, tokenizer=tokenizer)
    template = template or RemoteTemplate()
    return Answerer(
        config=config,
        tokenizer=tokenizer,
        template=template,
        net=None,
        adapter=None,
        engine=engine,
        describes=f"{engine.model} at {engine.url} (template {template.name})",
    )


def scorer_of(answerer: Answerer) -> Scorer:
    """The answering model as one that tells log-probabilities. Raises ConfigError for a server's."""
    from luthier.models.score import Scorer

    if answerer.net is None:
        raise ConfigError(
            "a server does not tell how likely a given text is.", "Load the model here: infer_backend: huggingface"
        )
    return Scorer(answerer.net).eval()


def add_adapter(net: nn.Module, folder: Path, name: str) -> None:
    """One more adapter beside those that net has. Raises ModelError where it does not fit; net is then as it was."""
    try:
        net.load_adapter(str(folder), adapter_name=name, autocast_adapter_dtype=False)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        with contextlib.suppress(ValueError, KeyError):
            net.delete_adapter(name)
        raise ModelError(f"{folder} does not fit this model: {str(error).splitlines()[0]}") from error


def sampling_of(config: Config) -> Sampling:
    """The generation keys, under their names in LLaMA-Factory."""
    return Sampling(
        do_sample=config.do_sample,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        stop=tuple(config.stop or ()),
        num_beams=config.eval_num_beams or config.generation_num_beams or config.num_beams,
        max_new_tokens=config.max_new_tokens,
        repetition_penalty=config.repetition_penalty,
        length_penalty=config.length_penalty,
    )


def _is_adapter(name: str) -> bool:
    folder = Path(name).expanduser()
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def _plain(value: Any) -> Any:
    return "auto" if value is None else value
