"""MMLU, C-Eval and CMMLU: the likeliest of A, B, C and D after a question, by subject and category.

task_dir/<task>/ -> questions with solved ones before them -> one forward pass -> results.json, results.log
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.evals.choices import LETTERS, conversation, read_questions, read_subjects
from luthier.models.likelihood import next_logits
from luthier.models.score import Scorer
from luthier.runtime.files import write_atomic
from luthier.runtime.progress import track
from luthier.workflows.answering import load_answerer, load_words, settle

if TYPE_CHECKING:
    from luthier.templates.base import Template

log = logging.getLogger(__name__)

TASKS = ("mmlu", "ceval", "cmmlu")
SPLITS = ("test", "validation", "train")


def benchmark(config: Config) -> dict[str, Any]:
    """{"average", "categories", "subjects"} in percent right; save_dir gets LLaMA-Factory's results.json and results.log."""
    task, split = _task(config)
    folder = Path(config.task_dir).expanduser() / task
    if config.save_dir and Path(config.save_dir).expanduser().exists():
        raise ConfigError(f"save_dir {config.save_dir} exists already.", "Choose another one.")
    config = settle(config)
    tokenizer, template = load_words(config)
    subjects = read_subjects(folder)
    asked = {subject: _ask(config, folder, subject, row["name"], split, template) for subject, row in subjects.items()}
    answerer = load_answerer(config, tokenizer, template, keep_adapter=False)
    scorer = Scorer(answerer.net).eval()
    letters = [tokenizer.encode(letter, add_special_tokens=False)[-1] for letter in LETTERS]
    log.info("%s: %d questions, %s", config.task, sum(len(prompts) for prompts, _ in asked.values()), answerer.describes)
    answers = {subject: likeliest(scorer, prompts, letters) for subject, (prompts, _) in track(list(asked.items()), "subjects")}
    right = {subject: np.array(answers[subject]) == np.array(asked[subject][1]) for subject in subjects}
    results = _results(subjects, right)
    for name, value in [("Average", results["average"]), *results["categories"].items()]:
        log.info("%15s: %.2f", name, value)
    if config.save_dir:
        _save(Path(config.save_dir).expanduser(), results, answers)
    return results


def likeliest(scorer: Scorer, prompts: Sequence[Sequence[int]], letters: Sequence[int]) -> list[str]:
    """The letter whose token is likeliest after each prompt. letters: ids of A, B, C, D."""
    found = dict(next_logits(scorer, prompts, letters))
    return [LETTERS[int(found[number].argmax())] for number in range(len(prompts))]


def _ask(
    config: Config, folder: Path, subject: str, name: str, split: str, template: Template
) -> tuple[list[list[int]], list[str]]:
    """(prompts, right letters). The solved questions are the first n_shot of the train split."""
    solved = read_questions(folder, subject, "train")[: config.n_shot] if config.n_shot else []
    questions = read_questions(folder, subject, split)
    prompts = [template.encode_prompt(conversation(question, solved, name, config.lang)) for question in questions]
    return prompts, [question.answer for question in questions]


def _task(config: Config) -> tuple[str, str]:
    task, _, split = (config.task or "").partition("_")
    if task not in TASKS or split not in SPLITS:
        raise ConfigError(f'task: "{config.task}" is unknown.', "There are: mmlu_test, ceval_validation, cmmlu_test.")
    return task, split


def _results(subjects: dict[str, dict[str, str]], right: dict[str, np.ndarray]) -> dict[str, Any]:
    def percent(parts: list[np.ndarray]) -> float:
        whole = np.concatenate(parts)
        return round(100 * float(whole.mean()), 4) if len(whole) else 0.0

    categories = dict.fromkeys(row["category"] for row in subjects.values())
    return {
        "average": percent(list(right.values())),
        "categories": {
            name: percent([right[subject] for subject, row in subjects.items() if row["category"] == name])
            for name in categories
        },
        "subjects": {subject: percent([each]) for subject, each in right.items()},
    }


def _save(folder: Path, results: dict[str, Any], answers: dict[str, list[str]]) -> None:
    folder.mkdir(parents=True)
    by_row = {subject: {str(i): letter for i, letter in enumerate(each)} for subject, each in answers.items()}
    write_atomic(folder / "results.json", json.dumps(by_row, indent=2, ensure_ascii=False))
    lines = [f"{name:>15}: {value:.2f}" for name, value in [("Average", results["average"]), *results["categories"].items()]]
    write_atomic(folder / "results.log", "\n".join(lines))
