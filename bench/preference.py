"""LoRA DPO and KTO, float32, on this machine's CPU: samples a second and peak memory of Luthier and LLaMA-Factory.

    python -m bench.preference --stage dpo --model large --rows 12
    python -m bench.preference --stage kto --model small --rows 32

Both sides read bench/preference.yaml and the same rows in the same order. The rate is from the end of step 1 to the end of the
last, on one clock outside of the processes; memory is the process tree's at its highest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.machine import busy, describe
from bench.material import REPOSITORY, add_material_options, alone_in, need
from bench.models import SHAPES, make_model
from bench.report import bullets, table, verdict, write_report
from bench.sides import PEER_PYTHON, SIDES, environment
from bench.watch import watch

RECIPE = REPOSITORY / "bench" / "preference.yaml"
SOURCES = {"dpo": "dpo_zh_demo.json", "kto": "kto_en_demo.json"}
STEP_ROWS = 4
SPEED_GOAL, MEMORY_GOAL = 3.0, 0.25
"""Times LLaMA-Factory's rate, and part of its memory, with the large vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """rate: samples a second.  cpu_rate: samples a CPU second.  losses: of each step."""

    rate: float
    cpu_rate: float
    peak_bytes: int
    losses: list[float]


def make_rows(stage: str, assets: Path, work: Path, count: int) -> Path:
    """A dataset folder with the first `count` rows of the demo set of that stage."""
    source = need(assets / "data" / "llamafactory-demo", "the demo sets")
    info = json.loads((source / "dataset_info.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in info.values() if entry.get("file_name") == SOURCES[stage])
    rows = json.loads((source / SOURCES[stage]).read_text(encoding="utf-8"))[:count]
    folder = work / "data" / f"{stage}-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry | {"file_name": "rows.json"}}), encoding="utf-8")
    return folder


def measure(side: str, stage: str, model: Path, data: Path, work: Path, threads: int, batch: int) -> Measured:
    """One training from start to end, in an empty folder with empty caches."""
    shutil.rmtree(work, ignore_errors=True)
    output = work / "run"
    values = {
        "stage": stage,
        "dataset": "rows",
        "model_name_or_path": model,
        "dataset_dir": data,
        "output_dir": output,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": STEP_ROWS // batch,
        **SIDES[side].extra,
    }
    seen = watch(
        [*SIDES[side].command, str(RECIPE), *(f"{key}={value}" for key, value in values.items())],
        log=output / "trainer_log.jsonl",
        output=work / "output.txt",
        env=environment(threads, work / "caches"),
    )
    steps = [(row, at, cpu) for row, at, cpu in zip(seen.rows, seen.row_times, seen.row_cpu_s) if row.get("loss") is not None]
    samples = STEP_ROWS * (len(steps) - 1)
    return Measured(
        rate=samples / (steps[-1][1] - steps[0][1]),
        cpu_rate=samples / (steps[-1][2] - steps[0][2]),
        peak_bytes=seen.peak_bytes,
        losses=[row["loss"] for row, _, _ in steps],
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.preference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", default="dpo", choices=list(SOURCES))
    parser.add_argument("--model", default="large", choices=list(SHAPES))
    parser.add_argument("--rows", type=int, default=12, help=f"{STEP_ROWS} make one step")
    parser.add_argument(
        "--batch", type=int, default=4, choices=(1, 2, 4), help="samples at once; LLaMA-Factory's memory follows"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sides", default="luthier,peer", help=f"of {', '.join(SIDES)}")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        return compare(options)


def compare(options: argparse.Namespace) -> int:
    """All sides in turn, the table and the goals."""
    load = busy()
    model = make_model(options.model, options.assets, options.work)
    data = make_rows(options.stage, options.assets, options.work, options.rows)
    work = options.work / options.stage / options.model
    found = {
        side: measure(side, options.stage, model, data, work / side, options.threads, options.batch)
        for side in options.sides.split(",")
    }
    rows = [
        [
            side,
            f"{result.rate:.3f}",
            f"{result.cpu_rate:.3f}",
            f"{result.peak_bytes / 2**30:.2f}",
            " ".join(f"{loss:.4f}" for loss in result.losses),
        ]
        for side, result in found.items()
    ]
    sections = [
        bullets(
            [
                *describe(options.threads, load, PEER_PYTHON),
                f"{options.rows} rows of {SOURCES[options.stage]}, {STEP_ROWS} a step, {options.batch} at once",
            ]
        ),
        table(["side", "samples/s", "samples/CPU-s", "peak GiB", "loss of each step"], rows),
    ]
    if {"luthier", "peer"} <= found.keys():
        ours, theirs = found["luthier"], found["peer"]
        sections.append(
            bullets(
                [
                    f"samples/s, luthier / peer: {verdict(ours.rate / theirs.rate, SPEED_GOAL, at_least=True)}",
                    f"samples/CPU-s, luthier / peer: {ours.cpu_rate / theirs.cpu_rate:.2f}",
                    f"peak memory, luthier / peer: {verdict(ours.peak_bytes / theirs.peak_bytes, MEMORY_GOAL, at_least=False)}",
                ]
            )
        )
    title = f"LoRA {options.stage.upper()} on a CPU, model {options.model} (vocabulary {SHAPES[options.model].vocab_size:,})"
    command = f"python -m bench.preference {' '.join(sys.argv[1:])}"
    write_report(options.results, f"{options.stage}-{options.model}", title, sections, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
