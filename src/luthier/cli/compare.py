"""`luthier compare`: the answers of several models side by side, and how sure their differences are.

What enters: the words after the verb. What leaves: a folder with every model's answers, figures and a page; an exit code.
"""

from __future__ import annotations

import json

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier compare [CONFIG.yaml] --models A,B[,C] --dataset D [--key value ...] [--json]

    Each model answers the dataset as luthier predict does; the first is the one that the others are measured against. A model
    is `base` (what the adapters among the others were trained on), a folder of a model or an adapter, or a hub id. Writes
    compare_results.json and report.html into output_dir: figures, differences with 95 % intervals (paired bootstrap over
    rows), and the answers side by side, those first that lost most. With general questions as the dataset it shows what a
    model forgot. What was answered before is not asked again.

      --json     print the results as JSON

    Example:
      luthier compare --models base,saves/lora/sft --dataset identity --do_sample false --output_dir runs/compared
    """
    words, flags = take_flags(argv, "--json")
    config = load_config(words)
    if not config.models:
        raise ConfigError("luthier compare needs models.", "--models base,saves/lora/sft")
    if not (config.eval_dataset or config.dataset):
        raise ConfigError("no dataset is given.", "dataset: a name from dataset_info.json or a path")
    from luthier.workflows.compare import compare

    doing = {"do_predict": True, "predict_with_generate": True, "do_train": False, "stage": "sft"}
    results = compare(config.model_copy(update=doing))
    if "--json" in flags:
        print(json.dumps(results, ensure_ascii=False))
    return 0 if results else 130
