"""The data path: rows of a file to ids and labels ready to train on.

    python -m bench.data --rows 20000 --rounds 3
    python -m bench.data --parts memory --short-rows 1000000

ready      the file to ready-to-train, two workers on each side, empty caches; ratio Luthier / LLaMA-Factory (goal 2.5)
bare       tokens a second of Luthier's rendering + tokenising against tokenizers' encode_batch on the same text (goal 80 %)
second     a second start of the same training against the first, the tokenizer being loaded (goal under 10 %)
memory     peak of a process that encodes a quarter, a half, all of the short rows (goal under 2 GB for a million, and flat)
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.encode import encode_command, run_encode
from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, verdict, write_report
from bench.rows import make_rows
from bench.sides import PEER_PYTHON, RECIPE, environment
from bench.watch import watch

READY_GOAL, BARE_GOAL, SECOND_GOAL, MEMORY_GOAL_GIB = 2.5, 0.8, 0.1, 2e9 / 2**30


def ready(options: argparse.Namespace, model: Path) -> str:
    """Rows a second of both sides in turns."""
    data = make_rows(options.assets, options.work, options.rows)
    results: dict[str, list[dict[str, float]]] = {"luthier": [], "peer": []}
    for _ in range(options.rounds):
        for side, runs in results.items():
            folder = options.work / "data_bench"
            shutil.rmtree(folder, ignore_errors=True)
            workers = f"preprocessing_num_workers={options.threads}"
            runs.append(run_encode(side, model, data, "rows", folder, options.threads, workers))
    ours, theirs = results["luthier"], results["peer"]
    same = all(a["rows"] == b["rows"] and a["tokens"] == b["tokens"] for a, b in zip(ours, theirs))
    rows = []
    for side, runs in results.items():
        seconds = median(run["seconds"] for run in runs)
        cpu_s = median(run["cpu_s"] for run in runs)
        rows.append(
            (side, f"{seconds:.2f}", f"{options.rows / seconds:,.0f}", f"{runs[0]['tokens'] / seconds:,.0f}", f"{cpu_s:.2f}")
        )
    ratio, cpu_ratio = (median(b[clock] / a[clock] for a, b in zip(ours, theirs)) for clock in ("seconds", "cpu_s"))
    return "\n\n".join(
        [
            f"## From file to ready, {options.rows:,} rows, {options.threads} workers",
            table(("side", "median s", "rows/s", "tokens/s", "CPU s"), rows),
            f"Luthier is faster by {verdict(ratio, READY_GOAL, at_least=True)}; it uses {cpu_ratio:.2f} times less CPU time "
            "(which holds where cores are shared). "
            f"Rows and tokens equal on both sides: {'yes' if same else '**NO**'} ({ours[0]['tokens']:,} tokens).",
        ]
    )


def bare(options: argparse.Namespace, model: Path) -> str:
    """In this process: the same samples rendered and tokenised by Luthier, and their text by encode_batch alone."""
    from luthier.config import load_config
    from luthier.datasets import read_samples
    from luthier.models.tokenizer import load_tokenizer
    from luthier.stages import STAGES
    from luthier.templates import find_template

    data = make_rows(options.assets, options.work, options.rows)
    config = load_config([str(RECIPE), f"model_name_or_path={model}", f"dataset_dir={data}"])
    tokenizer = load_tokenizer(config)
    template, stage = find_template(config, tokenizer), STAGES[config.stage](config)
    samples = list(read_samples(config, wants=stage.sample))
    groups = [samples[i : i + config.preprocessing_batch_size] for i in range(0, len(samples), config.preprocessing_batch_size)]
    texts = [[template.render(sample) for sample in group] for group in groups]
    backend = tokenizer.backend_tokenizer
    rates, floors = [], []
    for _ in range(options.rounds):
        made, seconds = _timed(lambda: [pieces for group in groups for pieces in stage.encode(group, template)])
        rates.append(sum(piece.num_tokens for pieces in made for piece in pieces) / seconds)
        made, seconds = _timed(
            lambda: [item for group in texts for item in backend.encode_batch(group, add_special_tokens=False)]
        )
        floors.append(sum(len(item.ids) for item in made) / seconds)
    share = median(a / b for a, b in zip(rates, floors))
    return "\n\n".join(
        [
            "## Tokenising against bare encode_batch",
            table(
                ("what", "tokens/s"),
                [
                    ("samples to ids and labels, Luthier", f"{median(rates):,.0f}"),
                    ("the same text, tokenizers.encode_batch", f"{median(floors):,.0f}"),
                ],
            ),
            f"Share of the bare rate: {verdict(share, BARE_GOAL, at_least=True)}",
        ]
    )


def second(options: argparse.Namespace, model: Path) -> str:
    """The first start encodes, the second finds what the first kept. Both load the tokenizer, which is told apart."""
    data = make_rows(options.assets, options.work, options.rows)
    folder = options.work / "data_bench"
    shares, shown = [], []
    for _ in range(options.rounds):
        shutil.rmtree(folder, ignore_errors=True)
        keys = ("overwrite_cache=false", f"preprocessing_num_workers={options.threads}")
        first, again = (run_encode("luthier", model, data, "rows", folder, options.threads, *keys) for _ in range(2))
        shares.append(again["data_s"] / first["data_s"])
        shown.append(tuple(f"{run[clock]:.2f}" for clock in ("data_s", "seconds") for run in (first, again)))
    header = ("rows to ready, first s", "second s", "with loading the tokenizer, first s", "second s")
    return "\n\n".join(
        [
            f"## Second start, {options.rows:,} rows",
            table(header, shown),
            f"Second / first, rows to ready: {verdict(median(shares), SECOND_GOAL, at_least=False)}",
        ]
    )


def memory(options: argparse.Namespace, model: Path) -> str:
    """Peak of the whole process that encodes a file of short rows, for growing files."""
    rows = []
    for count in (options.short_rows // 4, options.short_rows // 2, options.short_rows):
        data, folder = _short_rows(options.work, count), options.work / "data_bench"
        shutil.rmtree(folder, ignore_errors=True)
        watched = watch(
            encode_command("luthier", model, data, "rows", folder),
            output=folder / "output.txt",
            env=environment(options.threads, folder / "caches"),
        )
        rows.append((f"{count:,}", f"{watched.wall_s:.0f}", f"{watched.peak_bytes / 2**30:.2f}"))
        (data / "rows.jsonl").unlink()
    peak = float(rows[-1][2])
    return "\n\n".join(
        [
            "## Memory for short rows",
            table(("rows", "s, imports included", "peak GiB"), rows),
            f"Peak of the last in GiB: {verdict(peak, MEMORY_GOAL_GIB, at_least=False)}",
        ]
    )


def _timed(work: Callable[[], list]) -> tuple[list, float]:
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def _short_rows(work: Path, count: int) -> Path:
    folder = work / "data" / "short"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for i in range(count):
            row = {"instruction": f"What is {i} plus {i % 97}?", "input": "", "output": f"It is {i + i % 97}."}
            file.write(json.dumps(row) + "\n")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl"}}), encoding="utf-8")
    return folder


PARTS = {"ready": ready, "bare": bare, "second": second, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="of %(default)s")
    parser.add_argument("--model", default="large", help="whose tokenizer: small (6,400 tokens) or large (Qwen3)")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--short-rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    load = busy()
    model = make_model(options.model, options.assets, options.work)
    sections = [bullets(describe(options.threads, load, PEER_PYTHON))]
    sections += [PARTS[part](options, model) for part in options.parts.split(",")]
    whole = options.parts == ",".join(PARTS) and options.model == "large"
    name = "data" if whole else f"data-{options.model}-{options.parts.replace(',', '-')}"
    write_report(options.results, name, "The data path", sections, f"python -m bench.data {' '.join(sys.argv[1:])}")


if __name__ == "__main__":
    main()
