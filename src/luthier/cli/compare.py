"""`luthier compare`: the answers of several models side by side, and how sure their differences are.

What enters: the words after the verb. What leaves: a folder with every model's answers, figures and a page; an exit code.
"""

from __future__ import annotations

import json

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier compare --models A,B[,C] --dataset D [--key value ...] [--json]

    Each model answers the dataset as luthier predict does; the first is the one that the others are measured against. A model
    is `base` (what the adapters among the others were trained on), a folder of a model or an adapter, or a hub id. Writes
    compare_results.json and report.html into output_dir: figures, differences with 95 % intervals (paired bootstrap over
    rows), and the answers side by side, those first that lost most. With general questions as the dataset it shows what a
    model forgot. What was answered before is not asked again.

      --json     print the results as JSON

    Example:
      luthier compare --models base,saves/lora/sft --dataset identity --do_sample false --output_dir runs/compared
    """
    words, models = _take_models(argv)
    words, flags = take_flags(words, "--json")
    config = load_config(words)
    if not (config.eval_dataset or config.dataset):
        raise ConfigError("no dataset is given.", "dataset: a name from dataset_info.json or a path")
    from luthier.workflows.compare import compare

    results = compare(
        config.model_copy(update={"do_predict": True, "predict_with_generate": True, "do_train": False, "stage": "sft"}), models
    )
    if "--json" in flags:
        print(json.dumps(results, ensure_ascii=False))
    return 0 if results else 130


def _take_models(argv: list[str]) -> tuple[list[str], list[str]]:
    """(["--models", "a,b", "x=1"]) -> (["x=1"], ["a", "b"]). Raises ConfigError where none are given."""
    rest, models, words = [], "", list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name.lstrip("-") != "models":
            rest.append(word)
        else:
            models = value if equals else words.pop(0) if words else ""
    if not models:
        raise ConfigError("luthier compare needs models.", "--models base,saves/lora/sft")
    return rest, [name.strip() for name in models.split(",") if name.strip()]
