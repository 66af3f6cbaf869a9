"""`luthier eval`: the loss and perplexity of a model on held-out data, or its marks on a benchmark.

What enters: the words after the verb. What leaves: a folder with eval_results.json, and an exit code.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from luthier.cli.arguments import take_flags
from luthier.config import load_config
from luthier.errors import ConfigError

if TYPE_CHECKING:
    from luthier.config import Config


def command(argv: list[str]) -> int:
    """luthier eval [CONFIG.yaml] --adapter_name_or_path A | --model_name_or_path M --eval_dataset D [--key value ...] [--json]

    Scores a model on held-out samples without training it: mean loss over what a training would learn, and its perplexity.
    The samples are eval_dataset, or the val_size part of dataset that a training with the same configuration holds out; dataset
    alone is scored as a whole. compute_accuracy adds the share of tokens that the model finds likeliest. Writes
    eval_results.json and all_results.json into output_dir (default: `eval` in the adapter's folder).

      --json     print the figures as JSON

    `luthier train --do_eval ...` does the same.

    With task it asks a benchmark of task_dir instead; save_dir gets results.json and results.log:
      mmlu_test, ceval_validation, cmmlu_test    in LLaMA-Factory's folders; the likeliest letter after n_shot solved questions
      gsm8k_test                                 worked problems (test.jsonl); right where the number behind #### is
      bfcl, bfcl_simple_python, bfcl_parallel ...   function calls against the Berkeley leaderboard's ground truth
      lm_eval:TASK[,TASK]                        tasks of lm-evaluation-harness (pip install luthier[lm-eval])
    n_shot solved examples stand before each question, in the words of lang; max_samples takes the first of each file. Written
    answers are greedy unless do_sample is set.

    Examples:
      luthier eval --model_name_or_path starter --task mmlu_test --task_dir evaluation --n_shot 5 --save_dir runs/mmlu
      luthier eval --adapter_name_or_path saves/lora/sft --task gsm8k_test --task_dir evaluation --n_shot 0 --max_new_tokens 512
      luthier eval --adapter_name_or_path saves/lora/sft --eval_dataset identity
      luthier eval examples/lora_sft.yaml --adapter_name_or_path saves/lora/sft --output_dir runs/scored
    """
    words, flags = take_flags(argv, "--json")
    if not words:
        raise ConfigError("luthier eval needs a model and a dataset.", "luthier eval --help shows examples.")
    config = load_config(words)
    if not (config.model_name_or_path or config.adapter_name_or_path):
        raise ConfigError("no model is given.", "model_name_or_path: starter, a folder or a hub id; or adapter_name_or_path")
    figures = _benchmark(config) if config.task else _loss(config)
    if "--json" in flags:
        print(json.dumps(figures, ensure_ascii=False))
    return 0


def _benchmark(config: Config) -> dict[str, Any]:
    from luthier.workflows.benchmark import benchmark

    return benchmark(config)


def _loss(config: Config) -> dict[str, Any]:
    if not (config.eval_dataset or config.dataset):
        raise ConfigError("no dataset is given.", "eval_dataset: a name from dataset_info.json or a path")
    changes = {"do_eval": True, "do_train": False, "do_predict": False, "predict_with_generate": False}
    if not (config.eval_dataset or config.val_size):
        changes |= {"eval_dataset": config.dataset, "dataset": None}
    from luthier.workflows.evaluate import evaluate

    return evaluate(config.model_copy(update=changes))
