"""Tasks of the Berkeley function-calling leaderboard, with the calls that are right.

    task_dir/bfcl/BFCL_v4_parallel.jsonl      {"id", "question": [[messages]], "function": [tools], "ground_truth": [...]}
    task_dir/bfcl/possible_answer/BFCL_v4_parallel.jsonl    its ground_truth by id, where it is not in the row

Enters: a folder. Leaves: tasks; luthier.calls says how their ground_truth is meant. Never: runs a call, asks the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.calls import Truth
from luthier.errors import DataError
from luthier.types import Conversation, Message

KINDS = {"dict": "object", "float": "number", "tuple": "array", "any": "string", "double": "number", "bool": "boolean"}
"""The leaderboard's words for types that JSON schema calls otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTask:
    """truth: the calls that are wanted, each {name: {argument: values that are right}}, in any order."""

    id: str
    conversation: Conversation
    truth: Sequence[Truth]


def read_tasks(folder: Path) -> dict[str, list[CallTask]]:
    """Category (simple_python, parallel ...) -> its tasks. Raises DataError where there are none, or a row is not whole."""
    found = {}
    for file in sorted([*folder.glob("*.jsonl"), *folder.glob("*.json")]):
        answers = folder / "possible_answer" / file.name
        truths = {row["id"]: row.get("ground_truth") for row in _rows(answers)} if answers.is_file() else {}
        category = re.sub(r"^BFCL_v\d+_", "", file.stem)
        found[category] = [_task(row, truths, f"{file} row {number}") for number, row in enumerate(_rows(file), start=1)]
    if not found:
        raise DataError(f"{folder} holds no tasks.", "Expected: BFCL_v4_simple_python.jsonl and the like.")
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}", "Every line is one task.") from error


def _task(row: Any, truths: Mapping[str, Any], where: str) -> CallTask:
    truth = row.get("ground_truth", truths.get(row.get("id"))) if isinstance(row, dict) else None
    if not truth or not row.get("question") or not row.get("function"):
        raise DataError(f"{where} lacks its question, function or ground_truth.", "ground_truth may lie in possible_answer/.")
    turns = row["question"][0] if isinstance(row["question"][0], list) else row["question"]
    tools = tuple({**tool, "parameters": _schema(tool.get("parameters", {}))} for tool in row["function"])
    unknown = {name for each in truth for name in each} - {tool["name"] for tool in tools}
    if unknown or any(len(each) != 1 for each in truth):
        raise DataError(f"{where}: ground_truth is not one {{name: arguments}} a call of its functions.", str(truth)[:200])
    messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)
    return CallTask(id=row.get("id", where), conversation=Conversation(messages=messages, tools=tools), truth=truth)


def _schema(schema: Any) -> Any:
    """The same with the types' names in JSON schema."""
    if isinstance(schema, list):
        return [_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: KINDS.get(value, value) if key == "type" and isinstance(value, str) else _schema(value)
        for key, value in schema.items()
    }
