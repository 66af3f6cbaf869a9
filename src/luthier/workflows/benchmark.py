"""A model's marks on a benchmark: `task` names it, task_dir holds it, save_dir gets results.json and results.log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.workflows.answering import settle
from luthier.workflows.benchmarks import BENCHMARKS
from luthier.workflows.benchmarks.marks import save

log = logging.getLogger(__name__)

HARNESS = "lm_eval"


def benchmark(config: Config) -> dict[str, Any]:
    """{"average", "categories" ...} in percent. Raises LuthierError for what the user can mend, before a model is loaded."""
    name, part = split_task(config.task or "")
    folder = Path(config.save_dir).expanduser() if config.save_dir else None
    if folder and folder.exists():
        raise ConfigError(f"save_dir {config.save_dir} exists already.", "Choose another one.")
    marks = BENCHMARKS[name](settle(config), name, part)
    log.info("%s", "\n".join(marks.lines()))
    if folder:
        save(marks, folder)
    return marks.figures()


def split_task(task: str) -> tuple[str, str]:
    """ "mmlu_test" -> ("mmlu", "test"); "lm_eval:arc_easy" -> ("lm_eval", "arc_easy")"""
    name, _, part = task.partition(":" if task.startswith(HARNESS) else "_")
    if name not in BENCHMARKS:
        raise ConfigError(
            f'task: "{task}" is unknown.',
            "There are: mmlu_test, ceval_validation, cmmlu_test, gsm8k_test, bfcl, bfcl_simple_python, lm_eval:TASK ...",
        )
    return name, part
