"""Settings that suit a model, a method and an amount of data, each with its reason; and mistakes that many make.

Enters: facts about model and data, and the config. Leaves: Advice by key and warnings. Reads advice.yaml alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from luthier.config import Config

STEPS = 100
"""A training of fewer optimizer steps has no time to follow a schedule."""

BITS_A_WEIGHT = 2.0
"""What a LoRA weight can hold: Schulman et al. 2025, "LoRA Without Regret"; a learned token costs about one bit there."""

RANKS = (8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """parameters: of the model.  weights_a_rank: of a LoRA of rank 1 on it.  rows, tokens: samples, and learned tokens of them.

    cut: samples that cutoff_len shortens.  own_template: whether the tokenizer brings one.  fits_template: whether a named
    template writes what the tokenizer's own writes (None: nothing to compare)."""

    parameters: int
    weights_a_rank: int
    rows: int
    tokens: int
    cut: int = 0
    own_template: bool = True
    fits_template: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """now: the value of the config.  reason and source: one sentence each."""

    key: str
    value: Any
    now: Any
    reason: str
    source: str

    @property
    def is_new(self) -> bool:
        return self.value != self.now


def advise(config: Config, facts: Facts) -> list[Advice]:
    """What to set, in the order in which it matters."""
    adapter = config.finetuning_type in ("lora", "oft")
    rate = _row("learning_rate", config.stage, facts.parameters, adapter)
    epochs = _row("num_train_epochs", config.stage, facts.rows)
    size = f"{facts.parameters / 1e9:.2g}B" if facts.parameters >= 1e9 else f"{facts.parameters / 1e6:.3g}M"
    found = [
        Advice(
            key="learning_rate",
            value=rate["value"],
            now=config.learning_rate,
            reason=f"stage {config.stage}, {config.finetuning_type}, a model of {size} parameters",
            source=rate["source"],
        ),
        Advice(
            key="num_train_epochs",
            value=float(epochs["value"]),
            now=config.num_train_epochs,
            reason=f"{facts.rows:,} samples",
            source=epochs["source"],
        ),
    ]
    if config.finetuning_type == "lora" and config.stage in ("sft", "pt", "kd"):
        found.append(_rank(config, facts))
    return [*found, *_batch(config, facts, float(epochs["value"]), adapter)]


def mistakes(config: Config, facts: Facts) -> list[str]:
    """What is probably not meant, a sentence each."""
    said = []
    suggested = _row("learning_rate", config.stage, facts.parameters, config.finetuning_type in ("lora", "oft"))["value"]
    if config.finetuning_type in ("full", "freeze") and config.learning_rate >= 5 * suggested:
        said.append(
            f"learning_rate {config.learning_rate:g} is LoRA's: {config.finetuning_type} tuning of this model forgets at more "
            f"than about {suggested:g}."
        )
    elif config.learning_rate <= suggested / 20:
        said.append(f"learning_rate {config.learning_rate:g} is far below the usual {suggested:g}: little will be learned.")
    if config.stage == "sft" and config.num_train_epochs * 300 >= 3000 and facts.rows <= 300:
        said.append(
            f"{config.num_train_epochs:g} epochs of {facts.rows} samples are learned by heart: mix in other data, or stop "
            "earlier."
        )
    if not config.val_size and not config.eval_dataset and config.stage not in ("ppo", "grpo"):
        said.append("nothing is held out, so that overfitting cannot be seen: val_size: 0.05, eval_strategy: epoch.")
    if facts.cut > 0.05 * facts.rows:
        said.append(f"{facts.cut:,} of {facts.rows:,} samples are longer than cutoff_len {config.cutoff_len}: raise it.")
    if facts.fits_template is False:
        said.append(f"template {config.template} writes other tokens than this model was trained with: template: auto.")
    if (
        not facts.own_template
        and config.stage not in ("pt",)
        and config.finetuning_type == "lora"
        and not config.additional_target
    ):
        said.append(
            "this looks like a base model: it has never seen the tokens of a chat template. Use its -Instruct sibling, or many "
            "samples, with additional_target: embed_tokens,lm_head."
        )
    return said


def _rank(config: Config, facts: Facts) -> Advice:
    holds = [rank for rank in RANKS if BITS_A_WEIGHT * rank * facts.weights_a_rank >= facts.tokens]
    rank = holds[0] if holds else RANKS[-1]
    return Advice(
        key="lora_rank",
        value=rank,
        now=config.lora_rank,
        reason=f"{facts.tokens:,} learned tokens; rank {rank} has {rank * facts.weights_a_rank:,} weights",
        source="about 2 bits a weight, 1 bit a token: Schulman et al. 2025, LoRA Without Regret",
    )


def _batch(config: Config, facts: Facts, epochs: float, adapter: bool) -> list[Advice]:
    """gradient_accumulation_steps for a batch that leaves time for STEPS steps."""
    largest, per_device = 32 if adapter else 128, config.per_device_train_batch_size
    wanted = min(largest, max(4, int(facts.rows * epochs / STEPS)))
    batch = 1 << (wanted.bit_length() - 1)
    steps = max(1, round(batch / per_device))
    batch = steps * per_device
    if config.stage in ("ppo", "grpo"):
        return []
    return [
        Advice(
            key="gradient_accumulation_steps",
            value=steps,
            now=config.gradient_accumulation_steps,
            reason=f"{batch} samples a step make {facts.rows * epochs / batch:,.0f} steps of {epochs:g} epochs",
            source=f"at least {STEPS} steps; small batches suit LoRA: Schulman et al. 2025, LoRA Without Regret",
        )
    ]


def _row(key: str, stage: str, size: float, adapter: bool | None = None) -> dict[str, Any]:
    return next(
        row
        for row in _table()[key]
        if stage in row["stages"] and row.get("adapter") == adapter and size < row.get("below", float("inf"))
    )


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    return yaml.safe_load((Path(__file__).parent / "advice.yaml").read_text(encoding="utf-8"))
