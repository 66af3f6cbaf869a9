"""Rows to ids and labels by LLaMA-Factory itself: its own loader, template and processor, nothing of ours.

    .bench-venv/bin/python -m bench.peer.encode bench/sft.yaml model_name_or_path=M dataset_dir=D output_dir=O --out FILE

Enters: a recipe and key=value overrides. Leaves: one JSON line on stdout (rows, tokens, supervised, seconds and CPU
seconds from the call to the data being ready, imports not counted) and, with --out, one {"input_ids", "labels"} a row.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from omegaconf import OmegaConf


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = OmegaConf.merge(OmegaConf.load(options.recipe), OmegaConf.from_cli(options.overrides))
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(OmegaConf.to_container(settings))

    start, cpu_start = time.perf_counter(), cpu_seconds()
    tokenizer = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
    with training_args.main_process_first(desc="encode"):
        module = get_dataset(template, model_args, data_args, training_args, stage=finetuning_args.stage, **tokenizer)
    seconds, cpu_s = time.perf_counter() - start, cpu_seconds() - cpu_start

    rows = tokens = supervised = 0
    sink = options.out.open("w") if options.out else None
    for row in module["train_dataset"]:
        rows += 1
        tokens += len(row["input_ids"])
        supervised += sum(label != -100 for label in row["labels"][1:])
        if sink:
            sink.write(json.dumps({"input_ids": row["input_ids"], "labels": row["labels"]}) + "\n")
    if sink:
        sink.close()
    print(json.dumps({"rows": rows, "tokens": tokens, "supervised": supervised, "seconds": seconds, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
