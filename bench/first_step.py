"""From the command to the end of the first optimizer step, on 1,000 rows that neither side has seen: in turns, empty caches.

    python -m bench.first_step [--rounds 3] [--rows 1000] [--model small]

One step is 16 rows, which both sides must compute before the clock stops. Files are warm (every library was read once before).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from statistics import median

from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, write_report
from bench.rows import make_rows
from bench.sides import PEER_PYTHON, SIDES, environment
from bench.watch import watch


def first_step_s(side: str, model: Path, data: Path, folder: Path, threads: int) -> float:
    """Seconds from starting the command to its first row in the log, with caches as on a new machine."""
    shutil.rmtree(folder, ignore_errors=True)
    output_dir = folder / "run"
    command = SIDES[side].train(model_name_or_path=model, dataset_dir=data, output_dir=output_dir)
    watched = watch(
        command,
        log=output_dir / "trainer_log.jsonl",
        output=folder / "output.txt",
        env=environment(threads, folder / "caches"),
        stop_at_row=1,
    )
    return watched.row_times[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.first_step", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="timed starts of each side, after one that is not counted")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--model", default="small")
    parser.add_argument("--threads", type=int, default=2)
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    model = make_model(options.model, options.assets, options.work)
    data = make_rows(options.assets, options.work, options.rows)
    load = busy()
    sides = ("luthier", "peer")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(options.rounds + 1):
        for side in sides:
            took = first_step_s(side, model, data, options.work / "first_step" / side, options.threads)
            if turn:
                seconds[side].append(took)
    ratio = median(a / b for a, b in zip(seconds["luthier"], seconds["peer"]))
    rows = [(side, f"{median(all_s):.1f}", f"{min(all_s):.1f}", f"{max(all_s):.1f}") for side, all_s in seconds.items()]
    write_report(
        options.results,
        f"first_step-{options.model}",
        f"From command to first step, {options.rows} rows, model {options.model}",
        [
            bullets(describe(options.threads, load, PEER_PYTHON)),
            table(("side", "median s", "min s", "max s"), rows),
            f"Luthier / LLaMA-Factory, median over {options.rounds} rounds: {ratio:.2f}",
        ],
        f"python -m bench.first_step --model {options.model} --rows {options.rows} --rounds {options.rounds}",
    )


if __name__ == "__main__":
    main()
