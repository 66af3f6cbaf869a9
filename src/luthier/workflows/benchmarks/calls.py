"""Function calling: the calls of the model against those that are right (Berkeley function-calling leaderboard).

task_dir/bfcl/ -> tasks -> answers -> their calls compared -> results.json, results.log
"""

from __future__ import annotations

import logging
from pathlib import Path

from luthier.calls import why_wrong
from luthier.config import Config
from luthier.errors import ConfigError
from luthier.evals.calls import CallTask, read_tasks
from luthier.types import Message
from luthier.workflows.answering import load_answerer, load_words
from luthier.workflows.benchmarks.asking import answers_to
from luthier.workflows.benchmarks.marks import Marks, percent

log = logging.getLogger(__name__)


def calls(config: Config, name: str, category: str) -> Marks:
    """category: one of the files (simple_python, multiple, parallel ...); "" is all, whose average counts each file alike."""
    tasks = read_tasks(Path(config.task_dir).expanduser() / name)
    if category and category not in tasks:
        raise ConfigError(
            f'task: "{config.task}" is not in task_dir.', f"There are: {', '.join(f'bfcl_{each}' for each in tasks)}"
        )
    chosen = {key: each[: config.max_samples] for key, each in tasks.items() if category in ("", key)}
    tokenizer, template = load_words(config)
    answerer = load_answerer(config, tokenizer, template, keep_adapter=False)
    log.info("%s: %d tasks, %s", config.task, sum(map(len, chosen.values())), answerer.describes)
    flat = [task for each in chosen.values() for task in each]
    answers = iter(answers_to(answerer, [task.conversation for task in flat]))
    rows = {key: [_row(task, next(answers)) for task in each] for key, each in chosen.items()}
    categories = {key: percent([row["wrong"] is None for row in each]) for key, each in rows.items()}
    return Marks(average=round(sum(categories.values()) / len(categories), 4), categories=categories, answers=rows)


def _row(task: CallTask, answer: Message) -> dict[str, object]:
    found = [{"name": call.name, "arguments": dict(call.arguments)} for call in answer.tool_calls]
    return {
        "id": task.id, "calls": found, "predict": answer.content, "label": list(task.truth),
        "wrong": why_wrong(answer.tool_calls, task.truth, task.conversation.tools),
    }  # fmt: skip
