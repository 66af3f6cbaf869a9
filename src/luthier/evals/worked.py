"""Problems with a worked answer that ends in "#### 42" (GSM8K), from a local folder.

    task_dir/gsm8k/test.jsonl, train.jsonl         {"question": "...", "answer": "48 / 2 = 24 ...\n#### 72"}
    the same as .json (a list of rows) or as the hub's .parquet

Enters: a folder and a split. Leaves: problems, and the conversation that puts one after some solved ones.
Never: asks the network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import DataError
from luthier.evals.numbers import marked_number
from luthier.types import Conversation, Message

ENDINGS = (".jsonl", ".json", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """answer: the worked one, with its number behind ####."""

    question: str
    answer: str


def read_problems(folder: Path, split: str) -> list[Problem]:
    """The problems of one split. Raises DataError where there is no such file, or a row is not whole."""
    found = [file for ending in ENDINGS for file in sorted(folder.rglob(f"{split}*{ending}"))]
    if not found:
        raise DataError(f"{folder} has no {split} problems.", f"Expected: {split}.jsonl there, rows of question and answer.")
    return [_problem(row, f"{found[0]} row {number}") for number, row in enumerate(_rows(found[0]), start=1)]


def conversation(problem: Problem, solved: Sequence[Problem], lang: str) -> Conversation:
    """The solved problems as turns, then the problem; what to do stands before the first."""
    messages = []
    for each in solved:
        messages += [Message(role="user", content=each.question), Message(role="assistant", content=each.answer)]
    messages.append(Message(role="user", content=problem.question))
    messages[0] = Message(role="user", content=f"{_words()[lang]}\n\n{messages[0].content}")
    return Conversation(messages=tuple(messages))


def _rows(file: Path) -> list[Any]:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(file).to_pylist()
    text = file.read_text(encoding="utf-8-sig")
    try:
        if file.suffix == ".json":
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error


def _problem(row: Any, where: str) -> Problem:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "answer")):
        raise DataError(f"{where} has no question and answer.", 'A row is {"question": "...", "answer": "... #### 72"}.')
    if marked_number(row["answer"]) is None:
        raise DataError(f"{where}: its answer marks no number.", "A worked answer ends with #### and the number.")
    return Problem(question=row["question"], answer=row["answer"])


@cache
def _words() -> dict[str, str]:
    return yaml.safe_load((files("luthier") / "evals" / "worked.yaml").read_text(encoding="utf-8"))
