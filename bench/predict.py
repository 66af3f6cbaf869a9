"""Prediction, greedy, float32, on this machine's CPU: answers a second of both sides on the same rows, and equal texts.

    python -m bench.predict --rows 64 --rounds 3

peer: LLaMA-Factory's documented command (per_device_eval_batch_size 1); peer-8: the same with 8 at once. Luthier chooses its
batch by memory. Every side says itself how many answers a second it gave while it predicted (loading is left out).

limit: plain `model.generate` of transformers with the same questions in one padded batch, LIMIT_ROWS at the most.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import median

from bench.generate import generate_rate
from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, verdict, write_report
from bench.rows import make_rows
from bench.sides import LUTHIER, PEER, PEER_PYTHON, environment
from bench.watch import watch

GOALS = {"peer": 4.0, "peer-8": 1.5}
SIDES = {
    "luthier": (LUTHIER, {}),
    "peer": (PEER, {"per_device_eval_batch_size": 1}),
    "peer-8": (PEER, {"per_device_eval_batch_size": 8}),
}
KEYS = {
    "stage": "sft",
    "do_predict": "true",
    "predict_with_generate": "true",
    "finetuning_type": "full",
    "template": "qwen",
    "cutoff_len": 1024,
    "do_sample": "false",
    "report_to": "none",
    "overwrite_output_dir": "true",
    "overwrite_cache": "true",
}


LIMIT_ROWS = 64
"""Answers that Luthier has under way at once on a CPU."""


def run_side(side: str, model: Path, data: Path, work: Path, new_tokens: int, threads: int) -> tuple[float, int, list[str]]:
    """(answers a second, peak bytes, the answers)."""
    shutil.rmtree(work, ignore_errors=True)
    program, extra = SIDES[side]
    values = {
        **KEYS, **extra, "model_name_or_path": model, "dataset_dir": data, "eval_dataset": "rows",
        "output_dir": work / "run", "max_new_tokens": new_tokens,
    }  # fmt: skip
    command = [program, "train", *(part for key, value in values.items() for part in (f"--{key}", str(value)))]
    watched = watch(command, output=work / "output.txt", env=environment(threads, work / "caches"))
    results = json.loads((work / "run" / "predict_results.json").read_text(encoding="utf-8"))
    lines = (work / "run" / "generated_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return results["predict_samples_per_second"], watched.peak_bytes, [json.loads(line)["predict"] for line in lines]


def measure(options: argparse.Namespace) -> int:
    """All sides in turns; 1 where texts differ."""
    model = make_model("small", options.assets, options.work)
    data = make_rows(options.assets, options.work, options.rows)
    load = busy()
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    peaks: dict[str, int] = {}
    texts: dict[str, list[str]] = {}
    for number in range(options.rounds):
        for side in SIDES:
            work = options.work / "predict" / side
            rate, peaks[side], texts[side] = run_side(side, model, data, work, options.new_tokens, options.threads)
            rates[side].append(rate)
            print(f"round {number + 1}: {side} {rate:.2f} answers/s", file=sys.stderr)
    equal = {side: sum(a == b for a, b in zip(texts["luthier"], texts[side])) for side in GOALS}
    ratios = {side: median(a / b for a, b in zip(rates["luthier"], rates[side])) for side in GOALS}
    rows = [
        [
            side,
            f"{median(rates[side]):.2f}",
            f"{peaks[side] / 2**30:.2f}",
            f"{ratios.get(side, 1.0):.2f}",
            f"{equal.get(side, options.rows)} of {options.rows}",
        ]
        for side in SIDES
    ]
    asked = json.loads((data / "rows.json").read_text(encoding="utf-8"))[:LIMIT_ROWS]
    prompts = [f"{row['instruction']}\n{row['input']}" for row in asked]
    limit = generate_rate(model, prompts, options.new_tokens, environment(options.threads, options.work / "predict"))
    limit /= options.new_tokens
    rows.append([f"limit: generate, batch {len(asked)}", f"{limit:.2f}", "", f"{median(rates['luthier']) / limit:.2f}", ""])
    goals = [f"answers/s, luthier / {side}: {verdict(ratios[side], goal, at_least=True)}" for side, goal in GOALS.items()]
    write_report(
        options.results,
        "predict",
        f"Prediction: {options.rows} rows, {options.new_tokens} tokens each, {options.rounds} rounds",
        [
            table(["side", "answers/s", "peak GiB", "luthier: x", "texts equal"], rows),
            bullets(goals),
            bullets(describe(options.threads, load, PEER_PYTHON)),
        ],
        f"python -m bench.predict --rows {options.rows} --rounds {options.rounds}",
    )
    return 0 if all(count == options.rows for count in equal.values()) else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=64)
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        return measure(options)


if __name__ == "__main__":
    sys.exit(main())
