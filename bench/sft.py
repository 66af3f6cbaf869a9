"""LoRA SFT, float32, on this machine's CPU: real tokens a second and peak memory, all sides in one run, in turns.

    python -m bench.sft --model small --rows 320 --rounds 3
    python -m bench.sft --model large --rows 160 --rounds 3

All sides read bench/sft.yaml and the same rows in the same order. Tokens are real tokens (padding is not counted), the rate is
from the end of step 2 to the end of the last step, on one clock outside of the processes; memory is the process tree's.
Ratios are taken inside a round, between neighbours in time, and their median is shown.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.encode import encode
from bench.equality import Checks, same_learning, same_rows, same_steps
from bench.judge import held_out_loss
from bench.limit import lora_flops, matmul_rate
from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.models import SHAPES, make_model
from bench.report import bullets, table, verdict, write_report
from bench.rows import make_rows
from bench.sides import PEER_PYTHON, SIDES, StepRow, environment, read_steps, steady_rate
from bench.tokens import TokenRow, count_supervised, count_tokens
from bench.watch import watch

SPEED_GOALS = {"small": 2.0, "large": 2.5}
MEMORY_GOALS = {"large": 0.6}
RANK = 8
STEP_ROWS = 16
"""As bench/sft.yaml says."""
REFERENCE = "peer"


@dataclass(slots=True)
class Results:
    """What a side did, round by round; steps are of the last round."""

    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    adapter: Path = Path()


def run_side(side: str, results: Results, model: Path, data: Path, tokens: Path, work: Path, threads: int) -> None:
    """One training from start to end, in an empty folder with empty caches."""
    shutil.rmtree(work, ignore_errors=True)
    output_dir = work / "run"
    values = {"model_name_or_path": model, "dataset_dir": data, "output_dir": output_dir}
    if side == "plain":
        values["tokens"] = tokens
    watched = watch(
        SIDES[side].train(**values),
        log=output_dir / "trainer_log.jsonl",
        output=work / "output.txt",
        env=environment(threads, work / "caches"),
    )
    results.steps = read_steps(side, watched, output_dir)
    results.rates.append(steady_rate(results.steps))
    results.cpu_rates.append(steady_rate(results.steps, "cpu_s"))
    results.peaks.append(watched.peak_bytes)
    results.adapter = output_dir


def against(results: dict[str, Results], what: str, other: str) -> float:
    """Median over the rounds of luthier / other."""
    return median(a / b for a, b in zip(getattr(results["luthier"], what), getattr(results[other], what)))


def results_table(results: dict[str, Results], limit: float) -> str:
    """Medians over the rounds. Tokens a CPU second say more than tokens a second where other programs share the cores."""
    header = ["side", "tokens/s", "of the limit", "tokens/CPU-s", "peak GiB"]
    if "luthier" in results:
        header += ["luthier: tokens/s x", "tokens/CPU-s x", "memory x"]
    rows = []
    for side, result in results.items():
        rate = median(result.rates)
        row = [
            side,
            f"{rate:.0f}",
            f"{rate / limit:.0%}",
            f"{median(result.cpu_rates):.0f}",
            f"{median(result.peaks) / 2**30:.2f}",
        ]
        if "luthier" in results:
            row += [f"{against(results, what, side):.2f}" for what in ("rates", "cpu_rates", "peaks")]
        rows.append(row)
    return table(header, rows)


def goals(model: str, results: dict[str, Results]) -> str:
    lines = []
    for other in (side for side in results if side.startswith("peer")):
        lines.append(
            f"tokens/s, luthier / {other}: {verdict(against(results, 'rates', other), SPEED_GOALS[model], at_least=True)}"
        )
        if model in MEMORY_GOALS:
            ratio = against(results, "peaks", other)
            lines.append(f"peak memory, luthier / {other}: {verdict(ratio, MEMORY_GOALS[model], at_least=False)}")
    return bullets(lines)


def limit_line(model: str, rows: list[TokenRow], threads: int) -> tuple[float, str]:
    """(tokens a second at the limit, how it was found)."""
    tokens = count_tokens(rows)
    flops = lora_flops(SHAPES[model], [len(row.input_ids) for row in rows], count_supervised(rows), RANK).total
    rate = matmul_rate(threads)
    limit = tokens * rate / flops
    return limit, (
        f"Limit: {flops / tokens / 1e6:.1f} MFLOP of matrix products a token must be done (bench/limit.py says which); the best"
        f" float32 product of this machine ran at {rate / 1e9:.0f} GFLOP/s in this run: {limit:.0f} tokens/s."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small", choices=list(SPEED_GOALS))
    parser.add_argument("--rows", type=int, default=320, help=f"{STEP_ROWS} make one step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sides", default="luthier,peer,peer-fast,plain", help=f"of {', '.join(SIDES)}")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """All sides in turns, the checks, the table; 1 where a check fails."""
    sides = options.sides.split(",")
    model = make_model(options.model, options.assets, options.work)
    data = make_rows(options.assets, options.work, options.rows)
    work = options.work / "sft" / options.model
    checks = Checks()
    rows = encode("peer", model, data, "rows", work / "encoded", options.threads)
    judge = "luthier" if "luthier" in sides else "peer"  # its labels: tokens that both sides learn
    held_out = encode(judge, model, data, "held_out", work / "encoded", options.threads)
    labelled = {"peer": rows}  # as the others have them too, but for luthier
    if "luthier" in sides:
        labelled["luthier"] = encode("luthier", model, data, "rows", work / "encoded", options.threads)
        same_rows(checks, labelled["luthier"], rows)

    load = busy()
    results = {side: Results() for side in sides}
    for _ in range(options.rounds):
        for side in sides:
            run_side(side, results[side], model, data, work / "encoded" / "peer-rows.jsonl", work / side, options.threads)
            print(f"{side}: {results[side].rates[-1]:.0f} tokens/s, {results[side].peaks[-1] / 2**30:.2f} GiB", flush=True)
    limit, limit_text = limit_line(options.model, rows, options.threads)

    reference = REFERENCE if REFERENCE in sides else sides[-1]
    found = {who: held_out_loss(model, None, encoded[:STEP_ROWS]) for who, encoded in labelled.items()}
    first_losses = {side: found.get(side, found["peer"]) for side in sides}
    same_steps(checks, {side: result.steps for side, result in results.items()}, reference, count_tokens(rows), first_losses)
    after = {side: held_out_loss(model, result.adapter, held_out) for side, result in results.items()}
    same_learning(checks, held_out_loss(model, None, held_out), after, reference)
    sections = [
        bullets(
            [*describe(options.threads, load, PEER_PYTHON), f"{options.rows} rows, {options.rounds} rounds, bench/sft.yaml"]
        ),
        results_table(results, limit),
        limit_text,
        *([goals(options.model, results)] if "luthier" in sides else []),
        "## The same work",
        checks.markdown(),
    ]
    command = f"python -m bench.sft {' '.join(sys.argv[1:])}"
    write_report(options.results, f"sft-{options.model}", f"LoRA SFT on a CPU, model {options.model}", sections, command)
    return 0 if checks.passed else 1


if __name__ == "__main__":
    sys.exit(main())
