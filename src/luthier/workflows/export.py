"""Base and adapters -> one merged model in a folder that other tools load, proved equal before it gets its name."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ExportError
from luthier.exporters import EXPORTERS
from luthier.models.load import load_config_of_model, load_model
from luthier.runtime.device import Device, memory, pick_device
from luthier.runtime.files import disk_errors, size_text
from luthier.types import Conversation, Message
from luthier.workflows.answering import load_words, settle
from luthier.workflows.keep import RECORD

if TYPE_CHECKING:
    import torch

    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

QUESTIONS = ("Who are you?", "你是谁？", "1 + 1 =")


def export(config: Config) -> Path:
    """Write the merged model to export_dir and return it. Raises LuthierError and leaves nothing half-written."""
    from luthier.exporters.probe import ask

    config = settle(config)
    target = check_target(config)
    exporter = EXPORTERS[config.export_format](config)
    tokenizer, template = load_words(config)
    device = pick_device(config) if config.export_device == "auto" else Device(kind="cpu")
    stored = getattr(load_config_of_model(config), "dtype", None)
    wanted = _wanted_dtype(config, stored)
    model = load_model(config, device=device.torch, dtype=_merging_dtype(config, device, wanted))
    exporter.check(model)
    if config.adapter_name_or_path:
        adapter = ADAPTERS[config.finetuning_type](config)
        net = adapter.attach(model, trainable=False)
        expected = ask(net, probes(template))
        model = adapter.merge(net)
        logger.info("%s merged into %s", ", ".join(config.adapter_name_or_path), config.model_name_or_path)
    else:
        expected = ask(model, probes(template))
    model.to(wanted)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with disk_errors(target, sum(p.numel() * p.element_size() for p in model.parameters())):
            exporter.write(model, tokenizer, template, draft)
            _write_record(config, template, draft)
        del model
        if config.export_verify == "on":
            found = exporter.verify(expected, draft)
            logger.info(
                "loaded again and compared: logits differ by %.2g at the most, %.1f %% of the likeliest tokens are the same",
                found["max_logit_difference"],
                100 * found["same_likeliest_token"],
            )
        draft.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    logger.info("the model is in %s (%s, %s)", target, size_text(size), str(wanted).removeprefix("torch."))
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


def _wanted_dtype(config: Config, stored: torch.dtype | None) -> torch.dtype:
    """infer_dtype where set, else the dtype of the base's files."""
    import torch

    return getattr(torch, config.infer_dtype) if config.infer_dtype != "auto" else stored or torch.float32


def _merging_dtype(config: Config, device: Device, wanted: torch.dtype) -> torch.dtype:
    """Weights are rounded once: merged in float32 where that fits into half of the free memory, else as wanted."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(load_config_of_model(config), trust_remote_code=config.trust_remote_code)
    needed = sum(4 * p.numel() for p in shapes.parameters())
    return torch.float32 if needed < memory(device)[0] / 2 else wanted


def _write_record(config: Config, template: Template, folder: Path) -> None:
    record = {
        "template": dict(template.describe()),
        "exported": {"base_model": config.model_name_or_path, "adapters": config.adapter_name_or_path or []},
    }
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
