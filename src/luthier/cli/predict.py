"""`luthier predict`: answer a dataset and score the answers.

What enters: the words after the verb. What leaves: a folder with the answers and their scores, and an exit code.
"""

from __future__ import annotations

import json

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError


def command(argv: list[str]) -> int:
    """luthier predict [CONFIG.yaml] --adapter_name_or_path A | --model_name_or_path M --dataset D [--key value ...] [--json]

    Asks the last question of every conversation of eval_dataset (or dataset) again and compares the answers with those in the
    data: BLEU-4 and ROUGE as LLaMA-Factory has them, exact match, sacrebleu, rouge-score; accuracy, F1 and a confusion matrix
    where the data's answers are a few labels; the share of right numbers where they end in "#### 42"; perplexity of the data's
    answers. Writes
    generated_predictions.jsonl, predict_results.json and report.html (the worst rows first) into output_dir (default: `predict`
    in the adapter's folder). The base of an adapter and the template it was trained with are known from its folder. Stopped by
    Ctrl-C, the same command goes on where it was.

      --json     print the figures as JSON

    `luthier train --do_predict --predict_with_generate ...` does the same.

    Examples:
      luthier predict --adapter_name_or_path saves/lora/sft --dataset identity
      luthier predict --model_name_or_path starter --dataset identity --do_sample false --max_samples 20 --output_dir runs/asked
    """
    words, flags = take_flags(argv, "--json")
    if not words:
        raise ConfigError("luthier predict needs a model and a dataset.", "luthier predict --help shows examples.")
    config = load_config(words)
    if not (config.model_name_or_path or config.adapter_name_or_path):
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id; or adapter_name_or_path")
    if not (config.eval_dataset or config.dataset):
        raise ConfigError("no dataset is given.", "dataset: a name from dataset_info.json or a path")
    from luthier.workflows.predict import predict

    metrics = predict(
        config.model_copy(update={"do_predict": True, "predict_with_generate": True, "do_train": False, "stage": "sft"})
    )
    if "--json" in flags:
        print(json.dumps(metrics, ensure_ascii=False))
    return 0 if metrics else 130
