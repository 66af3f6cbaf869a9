"""The starter model from nothing: corpus, tokenizer, random weights, pt, sft twice, scores, card, files of luthier/starter.

    python -m recipes.starter.build                         everything (make starter)
    python -m recipes.starter.build --steps score install   some steps again, on what build/starter holds

The trainings are plain `luthier train` runs of pretrain.yaml, sft.yaml and rehearsal.yaml. Run it from the repository's root.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .blank import copy_tokenizer, write_blank
from .card import write_card
from .corpus import write_corpus
from .demos import write_demos
from .tokenizer import build_tokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = Path("build/starter")
STARTER = ROOT / "src" / "luthier" / "starter"
LIMIT_MB = 8.0


def corpus() -> None:
    write_corpus(BUILD / "corpus")


def tokenizer() -> None:
    build_tokenizer(BUILD / "corpus", BUILD / "tokenizer")


def blank() -> None:
    write_blank(BUILD / "tokenizer", BUILD / "blank")


def pretrain() -> None:
    train("pretrain")


def sft() -> None:
    train("sft")


def rehearsal() -> None:
    train("rehearsal")


def train(name: str) -> None:
    """One `luthier train` run; the time that it took is kept for the card."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "luthier", "train", str(HERE / f"{name}.yaml")], check=True)
    (BUILD / f"{name}_minutes.json").write_text(json.dumps((time.monotonic() - start) / 60))


def install() -> None:
    """Weights as bfloat16 in one file, tokenizer, generation settings; then the example data that goes with them."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(BUILD / "rehearsal", dtype=torch.bfloat16)
    STARTER.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(STARTER)
    copy_tokenizer(BUILD / "tokenizer", STARTER)
    shutil.copy(BUILD / "blank" / "generation_config.json", STARTER)
    demos()
    size = folder_megabytes(STARTER)
    if size > LIMIT_MB:
        raise SystemExit(f"{STARTER} holds {size:.2f} MB, more than {LIMIT_MB}")


def demos() -> None:
    write_demos(ROOT / "data", STARTER / "lessons", BUILD / "corpus" / "general_50.jsonl")


def score() -> None:
    """Ask the installed model everything that was held out, and write its card."""
    from luthier.config import load_config

    from .score import read_questions
    from .score import score as ask

    by_topic, wrong = ask(str(STARTER), read_questions(BUILD / "corpus" / "heldout.jsonl"))
    general, _ = ask(str(STARTER), read_questions(BUILD / "corpus" / "general_50.jsonl"))
    (BUILD / "scores.json").write_text(json.dumps({"topics": by_topic, "general": general}, indent=1))
    (BUILD / "wrong.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in wrong), encoding="utf-8")
    config = json.loads((STARTER / "config.json").read_text())
    runs = {name: load_config([str(HERE / f"{name}.yaml")]) for name in ("pretrain", "sft", "rehearsal")}
    tokens = {name: results(Path(str(run.output_dir))) for name, run in runs.items()}
    facts = {
        "parameters": count_parameters(STARTER) / 1e6,
        "layers": config["num_hidden_layers"],
        "hidden": config["hidden_size"],
        "vocabulary": config["vocab_size"],
        "megabytes": folder_megabytes(STARTER),
        "pretrain_tokens": tokens["pretrain"],
        "sft_tokens": tokens["sft"] + tokens["rehearsal"],
        "minutes": sum(json.loads((BUILD / f"{name}_minutes.json").read_text()) for name in runs),
        "machine": f"2 CPU cores ({platform.machine()}, float32)",
    }
    write_card(STARTER / "README.md", by_topic, sum(right for right, _ in general.values()), facts)


def results(folder: Path) -> int:
    """Tokens that a run put through the model."""
    return int(json.loads((folder / "train_results.json").read_text())["num_input_tokens_seen"])


def count_parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - not a dict
    total = 0
    for shape in shapes:
        size = 1
        for side in shape:
            size *= side
        total += size
    return total


def folder_megabytes(folder: Path) -> float:
    """Of weights and tokenizer."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.suffix in (".safetensors", ".json", ".jinja")) / 1e6


STEPS: dict[str, Callable[[], None]] = {
    step.__name__: step for step in (corpus, tokenizer, blank, pretrain, sft, rehearsal, install, score)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", nargs="+", choices=[*STEPS, "demos"], default=list(STEPS))
    for name in parser.parse_args().steps:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        (STEPS | {"demos": demos})[name]()
        print(f"== {name} took {time.monotonic() - began:.0f} s", flush=True)
