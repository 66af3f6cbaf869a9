"""`luthier plan`: what a training will need, from its configuration alone; no weights are loaded.

What enters: the words after the verb. What leaves: a table on stdout (or JSON); exit code 1 where it does not fit.
"""

from __future__ import annotations

import json

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.runtime.files import size_text


def command(argv: list[str]) -> int:
    """luthier plan [CONFIG.yaml] [--key value ...] [--json]

    Memory by part, tokens at once, gradient checkpointing and seconds of a step for this machine. Every sample is taken to be
    cutoff_len long, so what is said is the most that the data can ask for.

    Examples:
      luthier plan run.yaml
      luthier plan --model_name_or_path starter --stage sft --finetuning_type lora --cutoff_len 4096
    """
    words, flags = take_flags(argv, "--json")
    if not words:
        raise ConfigError("luthier plan needs a config.", "luthier plan --help shows examples.")
    config = load_config(words)
    if not config.model_name_or_path:
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id")
    from luthier.workflows.plan import plan_training

    plan = plan_training(config)
    if "--json" in flags:
        facts = {"memory": dict(plan.memory), "peak_bytes": plan.peak_bytes, "micro_batch_tokens": plan.micro_batch_tokens}
        print(
            json.dumps(
                facts | {"gradient_checkpointing": plan.gradient_checkpointing, "step_s": plan.step_s, "fits": plan.fits}
            )
        )
    else:
        for part, size in plan.memory.items():
            print(f"{part:<14}{size_text(size):>12}")
        print(f"{'peak':<14}{size_text(plan.peak_bytes):>12}")
        again = "on" if plan.gradient_checkpointing else "off"
        print(f"{plan.micro_batch_tokens:,} tokens at once, gradient checkpointing {again}")
        print(f"about {plan.step_s:.2g} s a step" if plan.step_s else "the speed of this machine is not known")
        print(plan.note or {True: "It fits.", None: "Whether it fits is not known."}.get(plan.fits, "It does not fit."))
    return 0 if plan.fits is not False else 1
