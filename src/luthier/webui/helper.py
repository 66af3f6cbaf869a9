"""The process that does what needs torch or a tokenizer: forecast, preview of samples, data check. One at a time, no state.

    python -m luthier.webui.helper        one JSON request a line on stdin, one JSON answer a line on stdout

    {"id": 1, "do": "forecast", "settings": {...}}  ->  {"id": 1, "result": {...}} or {"id": 1, "error": "...", "remedy": "..."}

It ends when stdin does, which is when the web process does, and changes no file.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from luthier.config import Config, load_config
from luthier.errors import LuthierError

MEASURED = 512
"""Samples that are encoded to learn their lengths; the rest is only counted."""

COUNTING_S = 6.0
SHOWN_PIECES = 4000


def main() -> None:
    """Answer until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    notes = _Notes()
    logging.getLogger("luthier").addHandler(notes)
    for line in sys.stdin:
        request = json.loads(line)
        notes.said.clear()
        try:
            answer = {"result": VERBS[request["do"]](request) | {"notes": list(dict.fromkeys(notes.said))}}
        except LuthierError as error:
            answer = {"error": error.message, "remedy": error.remedy}
        except Exception as error:  # a page is told; the process lives on
            answer = {"error": f"{type(error).__name__}: {error}", "remedy": None}
        answers.write(json.dumps({"id": request["id"], **answer}, ensure_ascii=False, default=str) + "\n")


class _Notes(logging.Handler):
    """Warnings that were said while a request was answered: they go with the answer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def forecast(request: Mapping[str, Any]) -> dict[str, Any]:
    """Memory by part in bytes, what fits, steps and seconds of the training that settings ask for."""
    from luthier.models.load import load_config_of_model
    from luthier.runtime.device import memory, pick_device
    from luthier.workflows.plan import plan_training

    config = load_config(request["settings"])
    data = measure_data(config) if config.dataset else None
    device = pick_device(config)
    plan = plan_training(
        config,
        model_config=load_config_of_model(config),
        lengths=[min(n, config.cutoff_len) for n in data["lengths"]] if data else None,
        supervised=data["learned_share"] if data else 1.0,
        device=device,
    )
    free, total = memory(device)
    found = {
        "memory": dict(plan.memory),
        "peak": plan.peak_bytes,
        "free": free,
        "total": total,
        "device": device.name or str(device),
        "fits": plan.fits,
        "note": plan.note,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "micro_batch_tokens": plan.micro_batch_tokens,
        "step_s": plan.step_s,
    }
    return found | (steps_of(config, data) | _without_lengths(data) if data else {})


def steps_of(config: Config, data: Mapping[str, Any]) -> dict[str, Any]:
    """Optimizer steps of the whole training, evaluation rows taken off."""
    held = config.val_size if config.val_size >= 1 else config.val_size * data["samples"]
    learned = max(1, data["samples"] - int(held))
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
    per_epoch = -(-learned // batch)
    steps = config.max_steps if config.max_steps > 0 else round(per_epoch * config.num_train_epochs)
    return {"steps": max(1, steps), "steps_per_epoch": per_epoch, "batch": batch}


def measure_data(config: Config) -> dict[str, Any]:
    """Lengths of the first samples in tokens, and how many there are (counted for a few seconds at the most)."""
    from luthier.stages import STAGES
    from luthier.types import IGNORE_INDEX
    from luthier.workflows.data import encoder_parts, read_as_it_is

    whole = config.model_copy(update={"on_bad_row": "skip", "cutoff_len": 2**30})
    samples, _ = read_as_it_is(whole)
    _, template, stage = encoder_parts(whole, STAGES[config.stage](config).sample)
    stream, began = iter(samples), time.monotonic()
    lengths, learned = [], 0
    for pieces in stage.encode(list(islice(stream, MEASURED)), template):
        for segment in (segment for piece in pieces for segment in piece.segments):
            lengths.append(segment.num_tokens)
            learned += int((segment.labels != IGNORE_INDEX).sum())
    is_whole = True
    for _ in stream:
        if time.monotonic() - began > COUNTING_S:
            is_whole = False
            break
    ordered = sorted(lengths) or [0]
    return {
        "samples": samples.counts.kept,
        "counted": is_whole,
        "skipped": samples.counts.skipped,
        "lengths": lengths,
        "learned_share": learned / max(1, sum(lengths)),
        "mean": sum(lengths) / max(1, len(lengths)),
        "p99": ordered[int(0.99 * (len(ordered) - 1))],
        "longest": ordered[-1],
        "over": sum(n > config.cutoff_len for n in lengths) / max(1, len(lengths)),
    }


def _without_lengths(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {key: value for key, value in data.items() if key != "lengths"}}


def preview(request: Mapping[str, Any]) -> dict[str, Any]:
    """Samples first .. of the dataset as pieces [text, weight], with plain JSON where no model is set."""
    from luthier.workflows.data import inspect

    config = load_config(request["settings"])
    shown = []
    for one in inspect(config, first=request.get("first", 1), limit=request.get("limit", 1)):
        pieces = [[[piece.text, piece.weight] for piece in segment[:SHOWN_PIECES]] for segment in one.pieces]
        shown.append(
            {
                "number": one.number,
                "origin": str(one.sample.origin),
                "plain": dict(one.plain),
                "segments": None if one.segments is None else pieces,
                "tokens": sum(s.num_tokens for s in one.segments or ()),
                "learned": sum(len(p.ids) for s in one.pieces for p in s if p.weight),
                "cut": one.cut_tokens,
            }
        )
    return {"samples": shown}


def check(request: Mapping[str, Any]) -> dict[str, Any]:
    """The report of `luthier data check`."""
    from dataclasses import asdict

    from luthier.workflows.data_check import check as check_data

    return asdict(check_data(load_config(request["settings"])))


def warm(request: Mapping[str, Any]) -> dict[str, Any]:
    """Import what the first forecast will need."""
    import luthier.workflows.plan  # noqa: F401

    return {}


VERBS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "forecast": forecast,
    "preview": preview,
    "check": check,
    "warm": warm,
}

if __name__ == "__main__":
    main()
