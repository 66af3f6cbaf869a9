"""LLaMA-Factory's templates at work: the special tokens that they write, and the ids and labels that they make.

    python -m bench.peer.parity tokens                 JSON list of every text that looks like a special token in any template
    python -m bench.peer.parity encode REQUEST.json    {"model", "data", "datasets", "templates", "out"} -> out/TEMPLATE.json

REQUEST's templates may be null for all. A template that fails gives {"error": reason}.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

SPECIAL = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜]+｜>|</?[A-Za-z_]+[^<>\s]*>|\[/?[A-Z_]+\]|\[[a-z]MASK\]")
FORMATTERS = ("user", "assistant", "system", "function", "observation", "prefix")


def special_tokens() -> list[str]:
    found: set[str] = set()
    for template in TEMPLATES.values():
        found.update(template.stop_words)
        for name in FORMATTERS:
            for slot in getattr(template, f"format_{name}").slots:
                if isinstance(slot, dict):
                    found.update(slot.values())
                elif isinstance(slot, str):
                    found.update(SPECIAL.findall(slot))
    return sorted(found)


def encode(request: dict[str, Any], template: str, output_dir: str) -> dict[str, Any]:
    """dataset -> rows of {"input_ids", "labels"} with one template."""
    made = {}
    for dataset in request["datasets"]:
        settings = {
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "model_name_or_path": request["model"],
            "dataset_dir": request["data"],
            "dataset": dataset,
            "template": template,
            "cutoff_len": 16384,
            "output_dir": output_dir,
            "report_to": "none",
            "overwrite_cache": True,
        }
        model_args, data_args, training_args, finetuning_args, _ = get_train_args(settings)
        tokenizer = load_tokenizer(model_args)
        maker = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
        module = get_dataset(maker, model_args, data_args, training_args, stage=finetuning_args.stage, **tokenizer)
        made[dataset] = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in module["train_dataset"]]
    return made


def main() -> None:
    if sys.argv[1] == "tokens":
        print(json.dumps(special_tokens(), ensure_ascii=False))
        return
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as output_dir:
        for template in request["templates"] or sorted(TEMPLATES):
            try:
                made = encode(request, template, output_dir)
            except Exception as error:  # a template of pictures without its processor, say: the reason goes into the table
                made = {"error": f"{type(error).__name__}: {error}"[:300]}
            (out / f"{template}.json").write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main()
