"""GSM8K: worked problems answered in words, right where the final number is.

task_dir/gsm8k/ -> problems with solved ones before them -> answers -> results.json, results.log
"""

from __future__ import annotations

import logging
from pathlib import Path

from luthier.config import Config
from luthier.evals.numbers import final_number, marked_number
from luthier.evals.worked import conversation, read_problems
from luthier.workflows.answering import load_answerer, load_words
from luthier.workflows.benchmarks.asking import answers_to
from luthier.workflows.benchmarks.marks import Marks, percent

log = logging.getLogger(__name__)


def worked(config: Config, name: str, split: str) -> Marks:
    """split: of the files; "" is test. The solved problems are the first n_shot of the train split."""
    folder = Path(config.task_dir).expanduser() / name
    solved = read_problems(folder, "train")[: config.n_shot] if config.n_shot else []
    problems = read_problems(folder, split or "test")[: config.max_samples]
    tokenizer, template = load_words(config)
    answerer = load_answerer(config, tokenizer, template, keep_adapter=False)
    log.info("%s: %d problems, %s", config.task, len(problems), answerer.describes)
    answers = answers_to(answerer, [conversation(problem, solved, config.lang) for problem in problems])
    right = [final_number(answer.content) == marked_number(problem.answer) for answer, problem in zip(answers, problems)]
    rows = [
        {"question": problem.question, "label": problem.answer, "predict": answer.content, "right": is_right}
        for problem, answer, is_right in zip(problems, answers, right)
    ]
    return Marks(average=percent(right), categories={}, answers=rows)
