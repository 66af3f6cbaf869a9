"""README.md of an exported model: what it is made of, what it learned and how it scored, as far as its folders tell.

Enters: the config of the export. Leaves: a model card with the front matter that hubs read. Never: claims what nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from luthier.runs import Run

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.templates.base import Template

TOLD = (
    "stage", "finetuning_type", "dataset", "learning_rate", "num_train_epochs", "max_steps", "lora_rank", "cutoff_len", "seed",
)  # fmt: skip
"""Settings of a training that the card repeats."""

KINDS = ("train_loss", "eval_", "predict_")
SPEEDS = ("runtime", "per_second", "samples")


def write_card(config: Config, template: Template, folder: Path, proof: Mapping[str, float]) -> None:
    """folder: of the export.  proof: what was measured when it was loaded again; empty where nobody asked for it."""
    sources = [name for name in [config.model_name_or_path, *(config.adapter_name_or_path or [])] if name]
    front: dict[str, Any] = {"library_name": "gguf" if config.export_format in ("gguf", "ollama") else "transformers"}
    if bases := [name for name in sources if not Path(name).expanduser().exists() and name.count("/") == 1]:
        front["base_model"] = bases[0]
    front |= {"pipeline_tag": "text-generation", "tags": ["luthier", config.export_format]}
    parts = [
        f"---\n{yaml.safe_dump(front, allow_unicode=True, sort_keys=False)}---\n",
        f"# {Path(config.export_dir or 'model').name}\n",
        f"Made of {' and '.join(f'`{Path(name).name}`' for name in sources)} with Luthier; chat template `{template.name}`.\n",
    ]
    if proof:
        parts.append(
            f"Loaded again and compared with the trained model: KL divergence of the next token {proof['kl_divergence']:.2g} "
            f"nats, {100 * proof['same_likeliest_token']:.1f} % of the likeliest tokens the same.\n"
        )
    for name in sources:
        parts += _training(Path(name).expanduser())
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _training(folder: Path) -> list[str]:
    """What a run folder tells; nothing for any other folder."""
    run = Run(folder)
    if not run.config_file.is_file():
        return []
    settings = {key: value for key, value in run.saved_config().items() if key in TOLD}
    settings["dataset"] = [Path(name).name for name in settings.get("dataset") or []]
    scores = {
        key: value
        for key, value in run.read_results().items()
        if key.startswith(KINDS) and not key.endswith(SPEEDS) and isinstance(value, int | float)
    }
    parts = [f"## Training `{folder.name}`\n", f"```yaml\n{yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)}```\n"]
    if scores:
        rows = [f"| {key} | {value:.4g} |" for key, value in scores.items()]
        parts.append("\n".join(["| measure | value |", "|---|---|", *rows, ""]))
    return parts
