"""`luthier advise`: settings that suit this model and this data, with reasons, and the mistakes in a config.

What enters: the words after the verb. What leaves: lines on stdout (or JSON); exit code 1 where there are mistakes.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier advise [CONFIG.yaml] [--key value ...] [--json]

    Learning rate, epochs, rank and batch for this model size, method and dataset, each with its reason and source; and what is
    probably a mistake. The samples are tokenised (the training finds them ready); no weights are loaded.

    Examples:
      luthier advise run.yaml
      luthier advise --model_name_or_path starter --stage sft --dataset identity
    """
    words, flags = take_flags(argv, "--json")
    if not words:
        raise ConfigError("luthier advise needs a config.", "luthier advise --help shows examples.")
    config = load_config(words)
    if not config.model_name_or_path:
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id")
    from luthier.workflows.advise import advice_for

    advice, wrong = advice_for(config)
    if "--json" in flags:
        print(json.dumps({"advice": [asdict(each) for each in advice], "mistakes": wrong}, ensure_ascii=False))
        return int(bool(wrong))
    for each in advice:
        now = f" (now {_shown(each.now)})" if each.is_new else " (as it is)"
        print(f"{each.key}: {_shown(each.value)}{now}\n    {each.reason}\n    {each.source}")
    for sentence in wrong:
        print(f"! {sentence}")
    if changes := " ".join(f"{each.key}={_shown(each.value)}" for each in advice if each.is_new):
        print(f"\nluthier train ... {changes}")
    return int(bool(wrong))


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
