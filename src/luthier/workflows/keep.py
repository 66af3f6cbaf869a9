"""What a checkpoint and a finished run carry besides weights: tokenizer, chat template, and how they were trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from luthier import __version__
from luthier.config import Config
from luthier.runs import Run
from luthier.runtime.quiet import quiet_transformers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from luthier.adapters.base import Adapter
    from luthier.templates.base import Template

RECORD = "luthier.json"
"""{"template": Template.describe(), "base_model", "stage", "finetuning_type", "model_keys"}: what answers follows it."""


def saver(
    config: Config, adapter: Adapter, model: nn.Module, tokenizer: PreTrainedTokenizerBase, template: Template
) -> Callable[[Path], None]:
    """A function that writes model, tokenizer with its chat template, and the record into an existing folder."""

    def save(folder: Path) -> None:
        with quiet_transformers():
            adapter.save(model, folder)
        tokenizer.chat_template = template.jinja()
        tokenizer.save_pretrained(folder)
        record = {
            "template": dict(template.describe()),
            "base_model": config.model_name_or_path,
            "stage": config.stage,
            "finetuning_type": config.finetuning_type,
            "luthier": __version__,
            "model_keys": {key: getattr(config, key) for key in _remembered(config)},
        }
        (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")

    return save


def _remembered(config: Config) -> list[str]:
    """Keys without which an adapter does not fit its base again. A whole model's own files say them."""
    if config.finetuning_type not in ("lora", "oft"):
        return []
    keys = ("add_tokens", "add_special_tokens", "new_special_tokens_config", "resize_vocab", "rope_scaling")
    kept = [key for key in keys if getattr(config, key)]
    return [*kept, "cutoff_len"] if "rope_scaling" in kept else kept  # the factor follows from cutoff_len


def save_final(run: Run, save: Callable[[Path], None]) -> None:
    """The trained model at the root of the run folder, each file replaced in one step."""
    draft = run.folder / ".model.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    save(draft)
    for path in draft.iterdir():
        target = run.folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    draft.rmdir()
