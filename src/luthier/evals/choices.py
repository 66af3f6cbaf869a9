"""Questions with choices A to D (MMLU, C-Eval, CMMLU) from a local folder, put as LLaMA-Factory puts them.

    task_dir/mmlu/mapping.json          {"abstract_algebra": {"name": "abstract algebra", "category": "STEM"}, ...}
    task_dir/mmlu/.../abstract_algebra_test.csv, or the same inside a .zip in that folder

Enters: a folder, a subject, a split. Leaves: questions, and the conversation that asks one after some solved ones.
Never: asks the network.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

import yaml

from luthier.errors import DataError
from luthier.types import Conversation, Message

LETTERS = ("A", "B", "C", "D")
SPLITS = {"test": ("test",), "validation": ("validation", "val"), "train": ("train", "dev")}
"""A split -> the names of its folders and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """choices: by letter.  answer: the right letter."""

    question: str
    choices: dict[str, str]
    answer: str


def read_subjects(folder: Path) -> dict[str, dict[str, str]]:
    """subject -> {"name", "category"}, of mapping.json."""
    file = folder / "mapping.json"
    if not file.is_file():
        raise DataError(
            f"{file} is missing.", "task_dir names the folder that holds mmlu, ceval or cmmlu in LLaMA-Factory's layout."
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error


def read_questions(folder: Path, subject: str, split: str) -> list[Question]:
    """The questions of one subject. Raises DataError where there is no such file, or a row is not whole."""
    for name, text in _tables(folder):
        path = PurePosixPath(name)
        parts = {*path.parts[:-1], path.stem.removeprefix(subject).removeprefix("_")}
        if path.stem.startswith(subject) and _is_of(path.stem, subject) and parts & set(SPLITS[split]):
            return _parse(text(), f"{folder}/{name}")
    raise DataError(
        f"{folder} has no {split} questions of {subject}.", f"Expected: {split}/{subject}_{split}.csv there, or inside a .zip."
    )


def conversation(question: Question, solved: Sequence[Question], subject: str, lang: str) -> Conversation:
    """The solved questions as turns, then the question; the opening stands before the first."""
    words = _words()[lang]
    messages = []
    for each in solved:
        messages += [Message(role="user", content=_put(each, words)), Message(role="assistant", content=each.answer)]
    messages.append(Message(role="user", content=_put(question, words)))
    opening = words["opening"].format(subject=subject)
    messages[0] = Message(role="user", content=opening + messages[0].content)
    return Conversation(messages=tuple(messages))


def _put(question: Question, words: dict[str, str]) -> str:
    choices = [words["choice"].format(choice=letter, content=text) for letter, text in question.choices.items()]
    return "".join([question.question, *choices, words["ending"]])


def _is_of(stem: str, subject: str) -> bool:
    return stem == subject or stem.removeprefix(subject) in {f"_{name}" for names in SPLITS.values() for name in names}


def _tables(folder: Path) -> Iterator[tuple[str, object]]:
    """(path inside folder or its archives, a function that reads the text) of every .csv."""
    for file in sorted(folder.rglob("*.csv")):
        yield file.relative_to(folder).as_posix(), lambda file=file: file.read_text(encoding="utf-8-sig")
    for archive in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(archive) as inside:
            for name in sorted(inside.namelist()):
                if name.endswith(".csv"):
                    yield name, lambda name=name, inside=inside: inside.read(name).decode("utf-8-sig")


def _parse(text: str, where: str) -> list[Question]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    columns = ["question", "a", "b", "c", "d", "answer"]
    if "question" in head:
        rows = rows[1:]
        columns = head
    questions = []
    for number, row in enumerate(rows, start=1):
        cells = dict(zip(columns, row))
        missing = [name for name in ("question", "a", "b", "c", "d", "answer") if name not in cells]
        answer = cells.get("answer", "").strip().upper()
        if missing or answer not in LETTERS:
            what = f"has no {', '.join(missing)}" if missing else f'has the answer "{answer}"'
            raise DataError(f"{where} row {number} {what}.", "The columns are question, A, B, C, D, answer (a letter).")
        choices = {letter: cells[letter.lower()] for letter in LETTERS}
        questions.append(Question(question=cells["question"], choices=choices, answer=answer))
    return questions


@cache
def _words() -> dict[str, dict[str, str]]:
    return yaml.safe_load((files("luthier") / "evals" / "choices.yaml").read_text(encoding="utf-8"))
