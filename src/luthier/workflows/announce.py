"""What a person reads before the first step: what will happen, and the first sample with its learned part marked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text as RichText

from luthier.adapters.targets import parameter_count
from luthier.config import Config
from luthier.runtime.files import size_text
from luthier.runtime.logging import console, is_quiet
from luthier.types import IGNORE_INDEX

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from luthier.batches.views import Tokens
    from luthier.planner.base import Plan
    from luthier.runtime.device import Device
    from luthier.runtime.precision import Precision
    from luthier.trainer.loop import Trainer

SHOWN_TOKENS = 400

logger = logging.getLogger(__name__)


def announce(
    config: Config,
    model: nn.Module,
    trainer: Trainer,
    learned: Tokens,
    held_out: Mapping[str, Tokens],
    device: Device,
    precision: Precision,
    plan: Plan,
) -> None:
    """One block on the console: model, parameters, samples, steps, batch, precision, forecast of memory and time."""
    if is_quiet():
        return
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold")
    lines.add_column()
    for name, value in facts(config, model, trainer, learned, held_out, device, precision, plan).items():
        lines.add_row(name, value)
    console().print(
        Panel(lines, title=f"luthier train: {config.stage}, {config.finetuning_type}", title_align="left", expand=False)
    )


def facts(
    config: Config,
    model: nn.Module,
    trainer: Trainer,
    learned: Tokens,
    held_out: Mapping[str, Tokens],
    device: Device,
    precision: Precision,
    plan: Plan,
) -> dict[str, str]:
    """The same as plain text by name."""
    total = parameter_count(model)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    tokens, supervised = int(learned.lengths.sum()), int(learned.supervised.sum())
    progress, loader = trainer.progress, trainer.loader
    share = 100 * supervised / max(1, tokens)
    kind = "packed rows" if loader.num_units != len(learned) else "samples"
    streamed = "streamed; in its first window " if config.streaming else ""
    out = {
        "model": f"{config.model_name_or_path}, {total:,} parameters",
        "learns": f"{learning:,} parameters ({100 * learning / total:.2f} %)",
        "data": f"{streamed}{len(learned):,} samples, {tokens:,} tokens, {supervised:,} learned ({share:.0f} %)",
        "length": _touched(learned.report, config),
    }
    if kind == "packed rows":
        filled = 100 * tokens / (loader.num_units * config.cutoff_len)
        out["packing"] = f"{len(learned):,} samples in {loader.num_units:,} rows of {config.cutoff_len}, {filled:.1f} % filled"
    if getattr(loader, "left_out", 0):
        out["left out"] = f"{loader.left_out:,} {kind} of each epoch, others in each (dataloader_drop_last)"
    if held_out:
        out["evaluation"] = ", ".join(f"{len(store):,} samples ({name})" for name, store in held_out.items())
    batch = f"{config.per_device_train_batch_size} x {config.gradient_accumulation_steps} accumulated"
    if trainer.parallel.world_size > 1:
        batch += f" x {trainer.parallel.world_size} devices"
    out["batch"] = f"{loader.samples_per_step} {kind} a step ({batch})"
    out["steps"] = f"{progress.total_steps:,} ({progress.num_epochs:g} epochs of {loader.steps_per_epoch:,})"
    out["precision"] = f"{precision} on {device.name or device}"
    at_once = f"{plan.micro_batch_tokens:,} tokens at once"
    out["memory"] = (
        f"about {size_text(plan.peak_bytes)} ({at_once}{', activations made again' if plan.gradient_checkpointing else ''})"
    )
    if plan.step_s:
        out["time"] = f"about {_duration(plan.step_s * progress.total_steps)}"
    if plan.note:
        out["note"] = plan.note
    out["folder"] = str(trainer.run.folder)
    return out


def list_parameters(model: nn.Module) -> None:
    """One line each: name, shape, dtype, device, whether it learns (print_param_status)."""
    for name, p in model.named_parameters():
        state = "learns" if p.requires_grad else "frozen"
        logger.info("%s  %s  %s  %s  %s", name, tuple(p.shape), str(p.dtype).removeprefix("torch."), p.device, state)


def _touched(report: Mapping[str, Any], config: Config) -> str:
    """How many samples and tokens cutoff_len touched, be it none."""
    cut, left_out = report.get("cut_samples", 0), report.get("left_out", 0)
    samples, lost = max(1, report.get("samples", 0)), report.get("cut_tokens", 0)
    whole = max(1, report.get("tokens", 0) + lost)
    return (
        f"{cut:,} samples cut ({100 * cut / samples:.1f} %), {lost:,} tokens lost ({100 * lost / whole:.1f} %), "
        f"{left_out:,} left out; cutoff_len {config.cutoff_len:,}"
    )


def _duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; 7300 -> "2 h 1 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def show_first_sample(store: Tokens, tokenizer: PreTrainedTokenizerBase) -> None:
    """The first sample as text; what is learned in green, the rest dim."""
    if is_quiet():
        return
    text = RichText()
    for segment in store.segments(0):
        ids, labels = segment.input_ids[:SHOWN_TOKENS], segment.labels[:SHOWN_TOKENS]
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or (labels[end] == IGNORE_INDEX) != (labels[start] == IGNORE_INDEX):
                learned = labels[start] != IGNORE_INDEX
                piece = tokenizer.decode(ids[start:end].tolist(), skip_special_tokens=False)
                text.append(f"[{piece}]" if learned else piece, style="green" if learned else "dim")
                start = end
        if segment.num_tokens > SHOWN_TOKENS:
            text.append(f"\n... and {segment.num_tokens - SHOWN_TOKENS} tokens more", style="dim")
    console().print(
        Panel(text, title="the first sample; what stands in \\[brackets] is learned", title_align="left", expand=False)
    )
