"""README.md of a trained model: what it was made from and how it scored. Only what the run knows; nothing is claimed.

What enters: the configuration and the results of the run. What leaves: a model card with the front matter that hubs read.
A README.md that a person wrote is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from luthier.runtime.files import write_atomic
from luthier.trainer.callbacks.base import Callback, Progress

MARK = "<!-- written by Luthier; an edited card is kept if this line is removed -->"
UNFILLED = "[More Information Needed]"
"""Stands in the empty card that peft writes beside an adapter: that one is replaced."""

LIBRARIES = ("luthier", "torch", "transformers", "peft", "tokenizers")
LEFT_OUT = (
    "output_dir", "model_name_or_path", "adapter_name_or_path", "dataset", "eval_dataset", "dataset_dir", "run_name",
    "cache_dir", "logging_dir", "do_train", "overwrite_output_dir", "overwrite_cache", "resume_from_checkpoint",
    "preprocessing_num_workers",
)  # fmt: skip
"""Keys that tell about the machine or the way of starting more than about the training, and those said in words."""

SAID = ("step", "epoch", "num_input_tokens_seen")
"""Numbers of the summary that stand in the text already."""

WRITTEN_FOR = ("finished", "stopped", "stopped early")


class ModelCard(Callback):
    """Written when training ended well or was stopped."""

    def on_train_end(self, progress: Progress, summary: Mapping[str, Any]) -> None:
        file = self.run.model_card
        if summary.get("state") not in WRITTEN_FOR:
            return
        if file.is_file() and not any(mark in file.read_text(encoding="utf-8") for mark in (MARK, UNFILLED)):
            return
        write_atomic(file, self.text(progress, summary))

    def text(self, progress: Progress, summary: Mapping[str, Any]) -> str:
        front = yaml.safe_dump(self.front_matter(), allow_unicode=True, sort_keys=False)
        config = {key: value for key, value in self.config.to_dict().items() if key not in LEFT_OUT}
        names = [Path(name).name for name in self.config.dataset or []]
        parts = [
            f"---\n{front}---\n{MARK}\n",
            f"# {self.run.folder.name}\n",
            f"{self.base_name()}, fine-tuned with Luthier: stage `{self.config.stage}`, "
            f"method `{self.config.finetuning_type}`, data {', '.join(f'`{name}`' for name in names) or 'not named'}.",
            f"{progress.step} optimizer steps, {progress.epoch:.2f} passes over the data, {progress.tokens_seen:,} tokens"
            f"{', stopped before the planned end' if summary.get('state') == 'stopped' else ''}.\n",
            "## Results\n",
            _table(self.results(summary), ("measure", "value")),
            "## Settings\n",
            f"```yaml\n{yaml.safe_dump(config, allow_unicode=True, sort_keys=False)}```\n",
            "## Versions\n",
            _table(_versions(), ("library", "version")),
        ]
        return "\n".join(parts)

    def front_matter(self) -> dict[str, Any]:
        """Keys of https://huggingface.co/docs/hub/model-cards. base_model is given only for a name of a hub: a folder of this
        machine means nothing to others."""
        front: dict[str, Any] = {"library_name": "peft" if self.config.finetuning_type in ("lora", "oft") else "transformers"}
        name = self.config.model_name_or_path
        if name and not Path(name).expanduser().exists() and name.count("/") == 1:
            front["base_model"] = name
        front["pipeline_tag"] = "text-generation"
        front["tags"] = ["luthier", self.config.stage, self.config.finetuning_type]
        return front

    def base_name(self) -> str:
        return Path(self.config.model_name_or_path or "a model").name

    def results(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers of the training, and the newest evaluation."""
        evaluated = next((row for row in reversed(self.run.read_metrics()) if any(key.startswith("eval_") for key in row)), {})
        scores = {key: value for key, value in evaluated.items() if key.startswith("eval_") and key != "eval_runtime"}
        return {key: value for key, value in summary.items() if isinstance(value, int | float) and key not in SAID} | scores


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _table(rows: Mapping[str, Any], head: tuple[str, str]) -> str:
    if not rows:
        return ""
    lines = [f"| {key} | {value:.4g} |" if isinstance(value, float) else f"| {key} | {value} |" for key, value in rows.items()]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines, ""])
