"""The sides of a comparison: how each is started, and where each keeps its numbers.

luthier     luthier train, as its users run it
peer        llamafactory-cli train, as its users run it (gradient checkpointing is its default)
peer-fast   the same with disable_gradient_checkpointing, its faster setting where memory allows
plain       bench/plain.py: a textbook loop on torch, transformers and peft
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.material import REPOSITORY
from bench.watch import Watched

PEER_VENV = REPOSITORY / ".bench-venv"
RECIPE = REPOSITORY / "bench" / "sft.yaml"


def bin_of(python: str | Path, name: str) -> Path:
    return Path(python).parent / name


PEER_PYTHON = PEER_VENV / "bin" / "python"
LUTHIER = bin_of(sys.executable, "luthier")
PEER = PEER_VENV / "bin" / "llamafactory-cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """command: what is started, before the recipe.  extra: key=value pairs that only this side gets."""

    name: str
    command: tuple[str, ...]
    extra: Mapping[str, str] = field(default_factory=dict)

    def train(self, **values: object) -> list[str]:
        """The command that trains bench/sft.yaml with these values on top."""
        pairs = {**{key: str(value) for key, value in values.items()}, **self.extra}
        return [*self.command, str(RECIPE), *(f"{key}={value}" for key, value in pairs.items())]


SIDES = {
    side.name: side
    for side in (
        Side(name="luthier", command=(str(LUTHIER), "train")),
        Side(name="peer", command=(str(PEER), "train")),
        Side(name="peer-fast", command=(str(PEER), "train"), extra={"disable_gradient_checkpointing": "true"}),
        Side(name="plain", command=(sys.executable, "-m", "bench.plain")),
    )
}


def environment(threads: int, caches: Path) -> dict[str, str]:
    """The same for every side: so many threads, no network, caches of its own (so that a first start is a first start)."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HOME": str(caches / "huggingface"),
        "XDG_CACHE_HOME": str(caches),
        "HF_HUB_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",
        "PYTHONPATH": str(REPOSITORY),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One optimizer step as its side logged it. time_s: seconds from the start of the command to the row on the disk.
    cpu_s: CPU seconds used by then.

    tokens: real (not padding) tokens seen up to the end of this step.
    """

    step: int
    time_s: float
    cpu_s: float
    loss: float
    grad_norm: float
    tokens: int


def read_steps(side: str, watched: Watched, output_dir: Path) -> list[StepRow]:
    """The steps of a finished training. All sides append trainer_log.jsonl, whose rows the watch has timed."""
    seen = zip(watched.rows, watched.row_times, watched.row_cpu_s)
    clocks = {row["current_steps"]: (at, cpu) for row, at, cpu in seen if "loss" in row}
    if side.startswith("peer"):
        history = json.loads((output_dir / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        rows = [{**row, "tokens_seen": row["num_input_tokens_seen"]} for row in history if "loss" in row]
    else:
        lines = (output_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if "loss" in row]
    return [
        StepRow(
            step=row["step"],
            time_s=clocks[row["step"]][0],
            cpu_s=clocks[row["step"]][1],
            loss=row["loss"],
            grad_norm=row["grad_norm"],
            tokens=row["tokens_seen"],
        )
        for row in rows
    ]


def steady_rate(steps: list[StepRow], clock: str = "time_s", warmup: int = 2) -> float:
    """Real tokens a second (clock "time_s") or a CPU second ("cpu_s") from the end of step `warmup` to the end of the last."""
    first, last = steps[warmup - 1], steps[-1]
    return (last.tokens - first.tokens) / (getattr(last, clock) - getattr(first, clock))
