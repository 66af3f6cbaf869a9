"""MMLU, C-Eval and CMMLU: the likeliest of A, B, C and D after a question, by subject and category.

task_dir/<task>/ -> questions with solved ones before them -> one forward pass -> results.json, results.log
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.evals.choices import LETTERS, SPLITS, conversation, read_questions, read_subjects
from luthier.models.likelihood import next_logits
from luthier.models.score import Scorer
from luthier.runtime.progress import track
from luthier.workflows.answering import load_answerer, load_words, scorer_of
from luthier.workflows.benchmarks.marks import Marks, percent

if TYPE_CHECKING:
    from luthier.templates.base import Template

log = logging.getLogger(__name__)


def choices(config: Config, name: str, split: str) -> Marks:
    """split: test, validation or train. The answers are the letters by subject and row, as LLaMA-Factory keeps them."""
    if split not in SPLITS:
        raise ConfigError(
            f'task: "{config.task}" names no split.', f"There are: {', '.join(f'{name}_{each}' for each in SPLITS)}"
        )
    folder = Path(config.task_dir).expanduser() / name
    tokenizer, template = load_words(config)
    subjects = read_subjects(folder)
    asked = {subject: _ask(config, folder, subject, row["name"], split, template) for subject, row in subjects.items()}
    answerer = load_answerer(config, tokenizer, template, keep_adapter=False)
    scorer = scorer_of(answerer)
    letters = [tokenizer.encode(letter, add_special_tokens=False)[-1] for letter in LETTERS]
    log.info("%s: %d questions, %s", config.task, sum(len(prompts) for prompts, _ in asked.values()), answerer.describes)
    answers = {subject: likeliest(scorer, prompts, letters) for subject, (prompts, _) in track(list(asked.items()), "subjects")}
    right = {subject: [a == b for a, b in zip(answers[subject], asked[subject][1])] for subject in subjects}
    categories = {
        category: percent([each for subject, row in subjects.items() if row["category"] == category for each in right[subject]])
        for category in dict.fromkeys(row["category"] for row in subjects.values())
    }
    return Marks(
        average=percent([each for subject in subjects for each in right[subject]]),
        categories=categories,
        subjects={subject: percent(each) for subject, each in right.items()},
        answers={subject: {str(i): letter for i, letter in enumerate(each)} for subject, each in answers.items()},
    )


def likeliest(scorer: Scorer, prompts: Sequence[Sequence[int]], letters: Sequence[int]) -> list[str]:
    """The letter whose token is likeliest after each prompt. letters: ids of A, B, C, D."""
    found = dict(next_logits(scorer, prompts, letters))
    return [LETTERS[int(found[number].argmax())] for number in range(len(prompts))]


def _ask(
    config: Config, folder: Path, subject: str, name: str, split: str, template: Template
) -> tuple[list[list[int]], list[str]]:
    """(prompts, right letters). The solved questions are the first n_shot of the train split."""
    solved = read_questions(folder, subject, "train")[: config.n_shot] if config.n_shot else []
    questions = read_questions(folder, subject, split)[: config.max_samples]
    prompts = [template.encode_prompt(conversation(question, solved, name, config.lang)) for question in questions]
    return prompts, [question.answer for question in questions]
