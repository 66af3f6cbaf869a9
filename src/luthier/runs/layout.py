"""The run folder: this file alone knows the names inside it.

    output_dir/
      config.yaml           what the user set, without secrets      status.json         state, process, step, loss (atomic)
      metrics.jsonl         one JSON row a log point                trainer_log.jsonl   the same in LLaMA-Factory's fields
      log.txt               everything that was said                stop.request        present: finish the step, save, end
      checkpoints/step-N    what resume needs                       tensorboard/        events
      samples.jsonl         of grpo and ppo, every logging_steps the best and the worst answer drawn:
                            {"step": from 1, "prompt": the last message, "completion", "reward"}
      train_results.json    and eval_, predict_, all_results.json   training_loss.png   and training_eval_loss.png, reading.md
      adapter_model.safetensors or model.safetensors, tokenizer, README.md: the trained model, where its users look for it

What enters: a folder and a kind of job. What leaves: paths. It writes nothing. A job of another kind (predict after train) may
live in the folder of a training: it keeps its own predict_config.yaml and predict_status.json beside the training's.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from luthier.config import Config

KINDS = ("train", "predict", "eval", "export", "compare")
SPLITS = ("train", "eval", "predict", "all")
WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


class Name:
    """A path inside the run folder. of_kind: a job that is a guest in the folder has its own, with its kind in front."""

    def __init__(self, name: str, of_kind: bool = False):
        self.name = name
        self.of_kind = of_kind

    def __get__(self, run: Layout | None, owner: type) -> Any:
        if run is None:
            return self
        return run.folder / (f"{run.kind}_{self.name}" if self.of_kind and run.is_guest else self.name)


class Layout:
    """The paths of one run folder. kind: one of KINDS; is_guest: the folder belongs to a job of another kind."""

    config_file = Name("config.yaml", of_kind=True)
    status_file = Name("status.json", of_kind=True)
    stop_file = Name("stop.request", of_kind=True)
    log_file = Name("log.txt")
    metrics_file = Name("metrics.jsonl")
    trainer_log_file = Name("trainer_log.jsonl")
    samples_file = Name("samples.jsonl")
    predictions_file = Name("generated_predictions.jsonl")
    report_page = Name("report.html")
    label_report = Name("classification_report.json")
    confusion_plot = Name("confusion_matrix.png")
    comparison = Name("compare_results.json")
    benchmark = Name("benchmark")
    curve_reading = Name("reading.md")
    loss_plot = Name("training_loss.png")
    eval_plot = Name("training_eval_loss.png")
    model_card = Name("README.md")
    checkpoints_folder = Name("checkpoints")
    tensorboard_folder = Name("tensorboard")
    cache = Name("cache")

    def __init__(self, folder: Path, kind: str = "train", is_guest: bool = False):
        self.folder = folder
        self.kind = kind
        self.is_guest = is_guest

    def results_file(self, split: str) -> Path:
        return self.folder / f"{split}_results.json"

    def plot_file(self, metric: str) -> Path:
        """rewards/accuracies -> training_rewards_accuracies.png"""
        return self.folder / f"training_{metric.replace('/', '_')}.png"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints_folder / f"step-{step}"

    def checkpoints(self) -> list[Path]:
        """Newest first. Folders under another name (one being written) are not among them."""
        if not self.checkpoints_folder.is_dir():
            return []
        found = [path for path in self.checkpoints_folder.iterdir() if re.fullmatch(r"step-\d+", path.name) and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)

    def has_model(self) -> bool:
        return any((self.folder / name).is_file() for name in WEIGHTS)

    def saved_config(self) -> dict[str, Any]:
        """config.yaml as a plain mapping: the keys that were set."""
        return yaml.safe_load(self.config_file.read_text(encoding="utf-8")) or {}


def output_folder(config: Config, kind: str) -> Path:
    """config.output_dir, or a new folder runs/<kind>-<time> where it is unset. Absolute."""
    if config.output_dir:
        return Path(config.output_dir).expanduser().resolve()
    first = Path("runs").resolve() / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, count = first, 2
    while folder.exists():
        folder, count = first.with_name(f"{first.name}-{count}"), count + 1
    return folder


def resolve_checkpoint(path: str | Path) -> Path:
    """X/checkpoint-500, as LLaMA-Factory users write it, is X/checkpoints/step-500 here; other paths stay as they are."""
    path = Path(path).expanduser()
    match = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return Layout(path.parent).checkpoint(int(match[1])) if match and not path.exists() else path


def shown_path(folder: Path) -> str:
    """The path as a person in this folder would type it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder != here and folder.is_relative_to(here) else str(folder)
