"""LoRA SFT on one GPU: real tokens a second, model FLOP utilisation and peak memory, Luthier beside a plain loop, in turns.

    python -m bench.gpu.sft --model llama3.1-8b
    python -m bench.gpu.sft --model qwen3-0.6b --kind chat
    python -m bench.gpu.sft --model qwen3-0.6b --device cpu --tiny          the proof on a CPU

MFU counts 4 N FLOPs a token (forward and backward to the inputs of a frozen model; N all parameters), as published LoRA figures
do. Anchor: NeMo AutoModel, Llama-3.1-8B, one H100, rows of 4,096, rank 16, no checkpointing: 12,473 tokens/s, 40.6 %.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median

import yaml

from bench.equality import Checks
from bench.gpu.measure import Measured, Setting, matmul_rate
from bench.gpu.shapes import SHAPES
from bench.material import RESULTS
from bench.report import bullets, table, write_report

FLOPS_PER_PARAMETER = 4
LOSS_APART = {"cuda": 1e-2, "cpu": 1e-4}
"""Relative, of step 1, where the adapter still changes nothing: bfloat16 sums in another order, and float32."""


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 peak in FLOP/s, None for a device that peaks.yaml does not know."""
    peaks = yaml.safe_load((Path(__file__).parent / "peaks.yaml").read_text(encoding="utf-8"))
    return next((tera * 1e12 for part, tera in peaks.items() if part in device_name), None)


def run_once(setting: Setting) -> Measured | str:
    """Measured, or why there is nothing to measure."""
    command = [sys.executable, "-m", "bench.gpu.one", json.dumps(asdict(setting))]
    with tempfile.TemporaryDirectory() as caches:
        env = {**os.environ, "XDG_CACHE_HOME": caches}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise SystemExit(f"{setting.side} ended with code {done.returncode}:\n{done.stderr[-4000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return result["error"] if "error" in result else Measured(**result)


def check(checks: Checks, ours: Measured, theirs: Measured, kind: str) -> None:
    """Both sides saw the same tokens, start from the same loss and learn."""
    checks.add(ours.tokens == theirs.tokens, f"real tokens of every step are equal ({sum(ours.tokens)} in all)")
    apart = abs(ours.losses[0] / theirs.losses[0] - 1)
    checks.add(
        apart <= LOSS_APART[kind],
        f"loss of step 1: luthier {ours.losses[0]:.5f}, plain {theirs.losses[0]:.5f} (relative {apart:.1e})",
    )
    for side, measured in (("luthier", ours), ("plain", theirs)):
        alive = all(math.isfinite(norm) and norm > 0 for norm in measured.grad_norms)
        checks.add(alive, f"{side}: gradient norms from {min(measured.grad_norms):.3g} to {max(measured.grad_norms):.3g}")


def row_of(name: str, runs: Sequence[Measured | str], peak: float | None, measured_peak: float) -> tuple[str, ...]:
    """One line of the table: the median over the rounds."""
    failed = next((run for run in runs if isinstance(run, str)), None)
    if failed:
        return (name, failed, "-", "-", "-")
    rate = median(run.tokens_per_second for run in runs)
    flops = FLOPS_PER_PARAMETER * runs[0].parameters * rate
    memory = max(run.peak_bytes for run in runs) / 2**30
    return (name, f"{rate:,.0f}", f"{flops / peak:.1%}" if peak else "-", f"{flops / measured_peak:.1%}", f"{memory:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu.sft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="llama3.1-8b", choices=SHAPES)
    parser.add_argument("--kind", default="full", choices=("full", "chat"), help="lengths of the samples (bench/gpu/rows.py)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="next to no weights and rows of 64 tokens: does the script work?")
    parser.add_argument("--micro-rows", type=int, default=2, help="rows of --length tokens that go through the model at once")
    parser.add_argument("--samples-per-step", type=int, default=8)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--checkpointing", default="off,on,planned", help="gradient checkpointing, of %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    length = 64 if options.tiny else options.length
    attention = "flash_attention_2" if options.device != "cpu" and importlib.util.find_spec("flash_attn") else "sdpa"

    runs: dict[tuple[str, str], list[Measured | str]] = {}
    for _ in range(options.rounds):
        for checkpointing in options.checkpointing.split(","):
            for side in ("luthier", "plain") if checkpointing != "planned" else ("luthier",):
                setting = Setting(
                    side=side,
                    model=options.model,
                    device=options.device,
                    tiny=options.tiny,
                    kind=options.kind,
                    length=length,
                    micro_rows=options.micro_rows,
                    samples_per_step=options.samples_per_step,
                    steps=options.steps,
                    checkpointing=checkpointing,
                    attention=attention,
                )
                result = run_once(setting)
                runs.setdefault((side, checkpointing), []).append(result)
                said = result if isinstance(result, str) else f"{result.tokens_per_second:,.0f} tokens/s"
                print(f"{side}, checkpointing {checkpointing}: {said}", flush=True)

    import torch

    kind = options.device.split(":")[0]
    name = torch.cuda.get_device_name(options.device) if kind == "cuda" else "CPU"
    peak = peak_flops(name)
    measured_peak = matmul_rate(options.device, 8192 if kind == "cuda" else 512)
    checks = Checks()
    for checkpointing in options.checkpointing.split(","):
        ours, theirs = runs["luthier", checkpointing][-1], runs.get(("plain", checkpointing), [None])[-1]
        if isinstance(ours, Measured) and isinstance(theirs, Measured):
            check(checks, ours, theirs, kind)
    header = ("side", "tokens/s", "MFU (4N, data sheet)", "MFU (4N, measured)", "peak GiB")
    rows = [row_of(f"{side}, checkpointing {c}", all_runs, peak, measured_peak) for (side, c), all_runs in sorted(runs.items())]
    size = "tiny" if options.tiny else options.model
    sections = [
        bullets(
            [
                f"Date: {datetime.date.today().isoformat()}; device: {name}",
                ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers", "peft")),
                f"Shape {options.model}{' (tiny)' if options.tiny else ''}, samples {options.kind}, rows of {length}, "
                f"{options.micro_rows} at once, {options.samples_per_step} samples a step, {options.steps} steps, "
                f"{options.rounds} rounds; plain loop: {attention}",
                f"Best {'bfloat16' if kind == 'cuda' else 'float32'} product in this run: {measured_peak / 1e12:.2f} TFLOP/s",
            ]
        ),
        table(header, rows),
        "## The same work",
        checks.markdown(),
    ]
    command = f"python -m bench.gpu.sft {' '.join(sys.argv[1:])}"
    write_report(options.results, f"gpu-{size}-{options.kind}", f"LoRA SFT on {name}: {size}", sections, command)
    return 0 if checks.passed else 1


if __name__ == "__main__":
    sys.exit(main())
