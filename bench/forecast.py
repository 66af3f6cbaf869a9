"""Is the forecast true? What `luthier plan` says of a config, beside what `luthier train` of the same config takes.

    python -m bench.forecast                                 the whole grid, about 40 trainings
    python -m bench.forecast --methods lora --lengths short  a part of it; what was measured before is kept

Memory is the most that the process held at a time: what Linux counts as its anonymous memory (RssAnon, read every 20 ms) and
the weights that it maps from their file. Each run has a process of its own. What a training of next to no model takes (Python,
its libraries, the tokenizer) is measured the same way and told apart: above it is what the forecast must find, within 15 %.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import busy, describe
from bench.material import REPOSITORY, add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, write_report
from bench.sides import LUTHIER, environment
from bench.watch import watch

RECIPE = REPOSITORY / "bench" / "forecast.yaml"
METHODS: Mapping[str, Mapping[str, Any]] = {
    "full": {"finetuning_type": "full"},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 2},
    "lora": {"finetuning_type": "lora"},
    "qlora": {"finetuning_type": "lora", "quantization_bit": 4},
}
LENGTHS: Mapping[str, Mapping[str, Any]] = {
    "short": {"cutoff_len": 128, "per_device_train_batch_size": 12},
    "long": {"cutoff_len": 1536, "per_device_train_batch_size": 1},
}
VOCABULARIES = {"small": "6,400", "large": "151,936"}
SUPERVISED = 0.25
"""Share of the tokens that is learned: more costs time with a large vocabulary, and no memory."""
LIMIT = 0.15
HOW = (
    "Measured: the most that a training process holds at a time, its anonymous memory and the weights mapped from their file, "
    "less what a training of next to no model takes, measured alike (process MiB is both). Two steps a cell, a model 512 wide "
    "with 8 layers in float32; short: 12 samples of 128 tokens a step, long: one of 1,536, a quarter of them learned. What the "
    "allocator leaves unused (HOLES in planner/forecast.py) was set by these same cells. The times are only good on an idle "
    "machine; memory does not depend on it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training: names of METHODS, LENGTHS, VOCABULARIES; checkpointing: on or off; body: of the model's name."""

    method: str
    length: str
    vocabulary: str
    checkpointing: str
    body: str = "wide"

    @property
    def name(self) -> str:
        return "-".join(asdict(self).values())

    @property
    def keys(self) -> dict[str, Any]:
        return {**METHODS[self.method], **LENGTHS[self.length], "gradient_checkpointing": self.checkpointing}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """peak_bytes: of the whole process, but pages of libraries.  step_s: seconds of a step, the median without the first."""

    peak_bytes: int
    step_s: float


def words_of(cell: Cell, options: argparse.Namespace) -> list[str]:
    """The words after `luthier plan` and `luthier train`."""
    work = options.work / "forecast" / "run"
    model = make_model(f"{cell.body}-{cell.vocabulary}", options.assets, options.work)
    values = {**cell.keys, "model_name_or_path": model, "dataset_dir": make_data(work / "data"), "output_dir": work / "out"}
    return [str(RECIPE), *(f"{key}={value}" for key, value in values.items())]


def measure(cell: Cell, options: argparse.Namespace) -> Measured:
    """The training of one cell, the middle one of several by its memory, or what it took before."""
    kept = options.work / "forecast" / f"{cell.name}.json"
    if kept.is_file() and not options.again:
        return Measured(**json.loads(kept.read_text(encoding="utf-8")))
    runs = sorted((_run(cell, options) for _ in range(options.repeats)), key=lambda run: run.peak_bytes)
    measured = runs[len(runs) // 2]
    kept.write_text(json.dumps(asdict(measured)), encoding="utf-8")
    return measured


def _run(cell: Cell, options: argparse.Namespace) -> Measured:
    work = options.work / "forecast" / "run"
    shutil.rmtree(work, ignore_errors=True)
    words, env = words_of(cell, options), environment(options.threads, work / "caches")
    seen = watch([LUTHIER, "train", *words], output=work / "output.txt", env=env, counted=".safetensors")
    rows = [json.loads(line) for line in (work / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    elapsed = [row["elapsed_s"] for row in rows if "loss" in row]
    took = median(later - earlier for earlier, later in pairwise(elapsed))
    return Measured(peak_bytes=seen.held_bytes, step_s=took)


def forecast(cell: Cell, options: argparse.Namespace) -> tuple[int, float]:
    """(bytes but those of the libraries, seconds of a step), as `luthier train` says them, which knows what is learned."""
    from luthier.config import load_config
    from luthier.workflows.plan import plan_training

    plan = plan_training(load_config(words_of(cell, options)), supervised=SUPERVISED)
    return plan.peak_bytes - plan.memory["libraries"], plan.step_s or 0.0


def make_data(folder: Path) -> Path:
    """A dataset folder: samples that are longer than any cutoff_len here, SUPERVISED of them answer."""
    folder.mkdir(parents=True, exist_ok=True)
    answer = "one two three four five " * 500
    prompt = answer * round(1 / SUPERVISED - 1)
    rows = [{"instruction": f"{number} {prompt}", "input": "", "output": answer} for number in range(32)]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
    return folder


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    chosen = (getattr(options, name).split(",") for name in ("methods", "lengths", "vocabularies", "checkpointing"))
    for method, length, vocabulary, checkpointing in product(*chosen):
        yield Cell(method=method, length=length, vocabulary=vocabulary, checkpointing=checkpointing)


def bare(cell: Cell, options: argparse.Namespace) -> int:
    """Bytes that a training takes with next to no model: of the same method, vocabulary and tokenizer."""
    least = Cell(method=cell.method, length="short", vocabulary=cell.vocabulary, checkpointing="off", body="bare")
    return measure(least, options).peak_bytes - forecast(least, options)[0]


def row_of(cell: Cell, said: tuple[int, float], measured: Measured, libraries: int) -> tuple[list[str], float]:
    """A line of the table, and the forecast of memory over what was measured above the libraries."""
    (said_bytes, said_s), above = said, measured.peak_bytes - libraries
    line = [
        f"{cell.method} {cell.length}",
        VOCABULARIES[cell.vocabulary],
        cell.checkpointing,
        *(f"{size / 2**20:,.0f}" for size in (said_bytes, above)),
        f"{said_bytes / above - 1:+.0%}",
        f"{measured.peak_bytes / 2**20:,.0f}",
        *(f"{seconds:.2f}" for seconds in (said_s, measured.step_s)),
        f"{said_s / measured.step_s - 1:+.0%}",
    ]
    return line, said_bytes / above


HEADER = [
    "method, length", "vocabulary", "checkpointing", "forecast MiB", "measured MiB", "apart",
    "process MiB", "forecast s", "step s", "apart",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.forecast", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--lengths", default=",".join(LENGTHS))
    parser.add_argument("--vocabularies", default=",".join(VOCABULARIES))
    parser.add_argument("--checkpointing", default="off,on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="runs a cell; the middle one counts")
    parser.add_argument("--again", action="store_true", help="measure what was measured before, too")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        return compare(options)


def compare(options: argparse.Namespace) -> int:
    """All cells, the table, and whether each is within LIMIT."""
    import torch

    torch.set_num_threads(options.threads)
    load, lines, ratios = busy(), [], []
    (options.work / "forecast").mkdir(parents=True, exist_ok=True)
    for cell in cells(options):
        line, ratio = row_of(cell, forecast(cell, options), measure(cell, options), bare(cell, options))
        print(" | ".join(line), flush=True)
        lines.append(line)
        ratios.append(ratio)
    within = sum(abs(ratio - 1) <= LIMIT for ratio in ratios)
    sections = [
        bullets(describe(options.threads, load)),
        HOW,
        table(HEADER, lines),
        f"{within} of {len(ratios)} forecasts of memory are within {LIMIT:.0%}; "
        f"the worst are {min(ratios) - 1:+.0%} and {max(ratios) - 1:+.0%}.",
    ]
    write_report(
        options.results, "forecast", "Forecast and measurement", sections, f"python -m bench.forecast {' '.join(sys.argv[1:])}"
    )
    return 0 if within == len(ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
