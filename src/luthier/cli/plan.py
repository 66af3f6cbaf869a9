"""`luthier plan`: what a training will need, from its configuration alone; no weights are loaded.

What enters: the words after the verb. What leaves: a table on stdout (or JSON, or a changed config); exit code 1 where it does
not fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.cli.arguments import take_flags, take_value
from luthier.config import load_config
from luthier.config.dump import dump_yaml
from luthier.errors import ConfigError
from luthier.runtime.files import size_text

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.planner.base import Plan
    from luthier.planner.cards import Card
    from luthier.workflows.fit import Remedy


def command(argv: list[str]) -> int:
    """luthier plan [CONFIG.yaml] [--key value ...] [--gpu NAME] [--fit [--output FILE]] [--sizes] [--json]

    Memory by part, tokens at once, gradient checkpointing and seconds of a step, of each device. Every sample is taken to be
    cutoff_len long, so what is said is the most that the data can ask for. Where it does not fit, the three cheapest changes
    that make it fit.

      --gpu NAME     for a card that need not be here: "RTX 4090", "A100 40GB"; an unknown name lists them
      --fit          write the config with the cheapest of these changes, to stdout or to --output FILE
      --sizes        a table of model sizes against methods; needs no config
      --json         for programs

    Examples:
      luthier plan run.yaml
      luthier plan run.yaml --gpu "RTX 4090" --fit --output smaller.yaml
      luthier plan --model_name_or_path starter --stage sft --finetuning_type lora --cutoff_len 4096
      luthier plan --sizes
    """
    words, flags = take_flags(argv, "--json", "--fit", "--sizes")
    words, gpu = take_value(words, "--gpu")
    words, output = take_value(words, "--output")
    if "--sizes" in flags:
        from luthier.workflows.sizes import sizes_table

        print(sizes_table("en"))
        return 0
    if not words:
        raise ConfigError("luthier plan needs a config.", "luthier plan --help shows examples.")
    if output and "--fit" not in flags:
        raise ConfigError("--output is where --fit writes the changed config.", "Add --fit.")
    config = load_config(words)
    if not config.model_name_or_path:
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id")
    from luthier.planner.cards import find_card
    from luthier.workflows.fit import remedies
    from luthier.workflows.plan import plan_training

    card = find_card(gpu) if gpu else None
    plan = plan_training(config, card=card)
    changes = remedies(config, plan, card) if plan.fits is False else []
    if "--fit" in flags:
        return _write(config, plan, changes, output)
    if "--json" in flags:
        print(json.dumps(_facts(plan, changes, card), ensure_ascii=False))
    else:
        _show(plan, changes, card)
    return 0 if plan.fits is not False else 1


def _show(plan: Plan, changes: list[Remedy], card: Card | None) -> None:
    if card:
        print(f"{card.name}, {card.flops_per_second / 1e12:g} TFLOP/s ({card.source})")
    for part, size in plan.memory.items():
        print(f"{part:<14}{size_text(size):>12}")
    print(f"{'peak':<14}{size_text(plan.peak_bytes):>12}")
    again = "on" if plan.gradient_checkpointing else "off"
    print(f"{plan.micro_batch_tokens:,} tokens at once, gradient checkpointing {again}")
    print(f"about {plan.step_s:.2g} s a step" if plan.step_s else "the speed of this machine is not known")
    print(plan.note or {True: "It fits.", None: "Whether it fits is not known."}.get(plan.fits, "It does not fit."))
    for number, change in enumerate(changes, 1):
        slower = f", {change.slower:.2g} times the time" if change.slower else ""
        print(f"\n{number}. peak {size_text(change.plan.peak_bytes)}{slower}: {change.cost}")
        print("   " + dump_yaml(change.changes).rstrip().replace("\n", "\n   "))
    if plan.fits is False and not changes:
        print("Nothing that is known here makes it fit: take a smaller model, or a larger device.")


def _write(config: Config, plan: Plan, changes: list[Remedy], output: str | None) -> int:
    """The config with the first remedy, or as it is where it fits."""
    if plan.fits is False and not changes:
        raise ConfigError("nothing that is known here makes this training fit.", "Take a smaller model, or a larger device.")
    text = config.model_copy(update=dict(changes[0].changes) if changes else {}).to_yaml()
    if changes:
        text = f"# made to fit: {changes[0].cost}\n{text}"
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def _facts(plan: Plan, changes: list[Remedy], card: Card | None) -> dict[str, Any]:
    return {
        "device": card.device.name if card else None,
        "memory": dict(plan.memory),
        "peak_bytes": plan.peak_bytes,
        "micro_batch_tokens": plan.micro_batch_tokens,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "step_s": plan.step_s,
        "fits": plan.fits,
        "remedies": [
            {
                "set": dict(change.changes),
                "cost": change.cost,
                "peak_bytes": change.plan.peak_bytes,
                "step_s": change.plan.step_s,
            }
            for change in changes
        ],
    }
