"""Base and adapters -> one merged model in a folder that other tools load, proved equal before it gets its name."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.engines.runner import context_length
from luthier.errors import ExportError
from luthier.exporters import EXPORTERS
from luthier.exporters.card import write_card
from luthier.exporters.hubs import find_hub
from luthier.hub import resolve_adapter
from luthier.models.load import load_config_of_model, load_model
from luthier.runtime.device import Device, memory, pick_device
from luthier.runtime.files import disk_errors, size_text
from luthier.types import Conversation, Message
from luthier.workflows.answering import load_words, settle
from luthier.workflows.calibrate import calibration_rows
from luthier.workflows.keep import RECORD

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

QUESTIONS = ("Who are you?", "你是谁？", "1 + 1 =")


def export(config: Config) -> Path:
    """Write the trained model to export_dir and return it. Raises LuthierError and leaves nothing half-written."""
    from luthier.exporters.probe import ask

    config = settle(config)
    if config.export_quantization_bit:  # LLaMA-Factory's way to say it
        config = config.model_copy(update={"export_format": "gptq"})
    target = check_target(config)
    exporter = EXPORTERS[config.export_format](config)
    hub = find_hub(config)
    tokenizer, template = load_words(config)
    device = pick_device(config) if config.export_device == "auto" else Device(kind="cpu")
    dtype = exporter.dtype(getattr(load_config_of_model(config), "dtype", None) or torch_dtype("float32"))
    shapes = shapes_of(config)
    check_adapters(config, shapes)
    exporter.check(shapes, tokenizer, dtype)
    if exporter.needs_rows:
        exporter.calibrate(calibration_rows(config, template, context_length(shapes.config)))
    elif config.export_quantization_dataset:
        logger.info("%s needs no calibration: export_quantization_dataset is not read", config.export_format)
    model = load_model(config, device=device.torch, dtype=_merging_dtype(shapes, device, dtype), whole=True)
    if config.adapter_name_or_path:
        adapter = ADAPTERS[config.finetuning_type](config)
        net = adapter.attach(model, trainable=False)
        expected = ask(net, probes(template))
        model = adapter.merge(net) if exporter.merges else net
        done = "merged into" if exporter.merges else "taken out of"
        logger.info("%s %s %s", ", ".join(config.adapter_name_or_path), done, config.model_name_or_path)
    else:
        expected = ask(model, probes(template))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with disk_errors(target, sum(p.numel() for p in model.parameters()) * dtype.itemsize):
            exporter.write(model, tokenizer, template, draft)
        del model
        found = exporter.verify(expected, draft) if config.export_verify == "on" else {}
        if found:
            logger.info(
                "loaded again and compared: logits differ by %.2g at the most, %.1f %% of the likeliest tokens are the same, "
                "KL divergence %.2g nats",
                found["max_logit_difference"],
                100 * found["same_likeliest_token"],
                found["kl_divergence"],
            )
        with disk_errors(target, 0):
            _write_record(config, template, draft, found)
            write_card(config, template, draft, found)
        draft.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    logger.info("the model is in %s (%s)", target, size_text(size))
    exporter.publish(target)
    if hub is not None:
        logger.info("published: %s", hub.upload(target))
    return target


def check_target(config: Config) -> Path:
    """export_dir as a path that may be written. Raises ExportError for one that is missing from the config, or occupied."""
    if not config.export_dir:
        raise ExportError("no export_dir is given.", "export_dir: the folder to write the merged model to")
    target = Path(config.export_dir).expanduser().resolve()
    if target.is_file():
        raise ExportError(f"export_dir {target} is a file.", "Name a folder that does not exist yet.")
    for source in (config.model_name_or_path, *(config.adapter_name_or_path or [])):
        if source and Path(source).expanduser().is_dir() and Path(source).expanduser().resolve() == target:
            raise ExportError(f"export_dir {target} is where {source} is read from.", "Choose another export_dir.")
    exported_before = (target / RECORD).is_file() and "exported" in json.loads((target / RECORD).read_text(encoding="utf-8"))
    if target.exists() and any(target.iterdir()) and not (config.overwrite_output_dir and exported_before):
        raise ExportError(
            f"export_dir {target} is not empty.",
            "Choose another export_dir, or replace an earlier export with overwrite_output_dir: true.",
        )
    return target


def probes(template: Template) -> list[list[int]]:
    """Prompts of a few tokens each, in both languages."""
    return [template.encode_prompt(Conversation(messages=(Message(role="user", content=text),))) for text in QUESTIONS]


def shapes_of(config: Config) -> PreTrainedModel:
    """The model on the meta device: names and shapes, no numbers."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(load_config_of_model(config), trust_remote_code=config.trust_remote_code)


def check_adapters(config: Config, shapes: PreTrainedModel) -> None:
    """Raise ModelError for an adapter of another base before any weight is read."""
    from luthier.adapters.fit import check_fits

    for name in config.adapter_name_or_path or []:
        check_fits(shapes, resolve_adapter(name, config), config.model_name_or_path or "")


def torch_dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)


def _merging_dtype(shapes: PreTrainedModel, device: Device, wanted: torch.dtype) -> torch.dtype:
    """Weights are rounded once: merged in float32 where that fits into half of the free memory, else as wanted."""
    needed = sum(4 * p.numel() for p in shapes.parameters())
    return torch_dtype("float32") if needed < memory(device)[0] / 2 else wanted


def _write_record(config: Config, template: Template, folder: Path, proof: Mapping[str, float]) -> None:
    """proof: what was measured when the export was loaded again; empty where nobody asked for it."""
    exported = {"base_model": config.model_name_or_path, "adapters": config.adapter_name_or_path or []}
    record = {"template": dict(template.describe()), "exported": exported | ({"proof": dict(proof)} if proof else {})}
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
