"""LLaMA-Factory's templates at work: the special tokens that they write, and the ids and labels that they make.

    python -m bench.peer.parity about                  {"templates": names, "tokens": what looks like a special token in any}
    python -m bench.peer.parity encode REQUEST.json    {"model", "data", "datasets", "templates", "out"} -> out/TEMPLATE.json

REQUEST's datasets are {name: number of rows}. A template that fails on one gives {"error": reason} for it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

SPECIAL = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜]+｜>|</?[A-Za-z_]+[^<>\s]*>|\[/?[A-Z_]+\]|\[[a-z]MASK\]|\]~!?b[\[\]]|\[e~\[")
FORMATTERS = ("user", "assistant", "system", "function", "observation", "prefix")


def special_tokens() -> list[str]:
    found: set[str] = set()
    for template in TEMPLATES.values():
        found.update(template.stop_words, *map(SPECIAL.findall, template.thought_words))
        for name in FORMATTERS:
            for slot in getattr(template, f"format_{name}").slots:
                if isinstance(slot, dict):
                    found.update(slot.values())
                elif isinstance(slot, str):
                    found.update(SPECIAL.findall(slot))
    return sorted(found)


def encode(request: dict[str, Any], template: str, loaded: dict[str, Any], output_dir: str) -> dict[str, Any]:
    """dataset -> rows of {"input_ids", "labels"} with one template.  loaded: the tokenizer, which this changes."""
    model_args, data_args, training_args, finetuning_args, _ = settings(request, template, output_dir)
    maker = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    maker.mm_plugin = get_mm_plugin("base")  # a family of pictures (gemma3), of which only the text is compared
    module = get_dataset(maker, model_args, data_args, training_args, stage=finetuning_args.stage, **loaded)
    rows = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in module["train_dataset"]]
    if len(rows) != sum(request["datasets"].values()):
        raise ValueError(f"{len(rows)} rows of {sum(request['datasets'].values())} are left")
    made = iter(rows)
    return {name: list(islice(made, count)) for name, count in request["datasets"].items()}


def attempt(request: dict[str, Any], template: str, loaded: dict[str, Any], output_dir: str) -> dict[str, Any]:
    """All datasets at once; where that fails, each by itself, with the reason where it fails again."""
    try:
        return encode(request, template, deepcopy(loaded), output_dir)
    except Exception as error:
        reason = {"error": f"{type(error).__name__}: {error}"[:300]}
    if len(request["datasets"]) == 1:
        return dict.fromkeys(request["datasets"], reason)
    each = [{**request, "datasets": {name: count}} for name, count in request["datasets"].items()]
    return {name: rows for part in each for name, rows in attempt(part, template, loaded, output_dir).items()}


def settings(request: dict[str, Any], template: str, output_dir: str) -> tuple[Any, ...]:
    """All sets in one call, one after another in the order of their names there."""
    return get_train_args(
        {
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "model_name_or_path": request["model"],
            "dataset_dir": request["data"],
            "dataset": ",".join(request["datasets"]),
            "template": template,
            "cutoff_len": 16384,
            "output_dir": output_dir,
            "report_to": "none",
            "overwrite_cache": True,
            **request.get("settings", {}),
        }
    )


def main() -> None:
    if sys.argv[1] == "about":
        print(json.dumps({"templates": sorted(TEMPLATES), "tokens": special_tokens()}, ensure_ascii=False))
        return
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as output_dir:
        loaded = load_tokenizer(settings(request, "default", output_dir)[0])
        for template in request["templates"]:
            made = attempt(request, template, loaded, output_dir)
            (out / f"{template}.json").write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main()
