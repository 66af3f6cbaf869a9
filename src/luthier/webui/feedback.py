"""What a reader thinks of answers, kept as training rows: good answers as conversations, better against worse as preference
pairs.

Enters: a conversation and a verdict.  Leaves: a row in <name>.jsonl or <name>_pairs.jsonl of the data folder, registered in
dataset_info.json at the first one. A file that holds something else is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.datasets.lookup import INFO_FILE, read_info
from luthier.datasets.write import entry_for, rows_of
from luthier.errors import DataError
from luthier.runtime.files import append_line, write_atomic
from luthier.types import Conversation, Message, Preference, Sample, ToolCall

FORMATTING = "sharegpt"
PAIRS = "_pairs"


def store_good(folder: Path, name: str, conversation: Conversation) -> tuple[str, int]:
    """(dataset, rows it holds now). The conversation ends with the answer to learn."""
    return _store(folder, name, conversation, Conversation)


def store_pair(folder: Path, name: str, prompt: Conversation, chosen: Message, rejected: Message) -> tuple[str, int]:
    """(dataset, rows it holds now). Raises DataError where both answers are the same."""
    if chosen == rejected:
        raise DataError("both answers are the same: there is nothing to prefer.")
    return _store(folder, name + PAIRS, Preference(prompt=prompt, chosen=chosen, rejected=rejected), Preference)


def message_of(plain: Mapping[str, Any]) -> Message:
    """A message of the page's storage."""
    calls = tuple(ToolCall(name=call["name"], arguments=dict(call["arguments"])) for call in plain.get("tool_calls") or ())
    return Message(role=plain["role"], content=plain["content"], thinking=plain.get("thinking") or None, tool_calls=calls)


def conversation_of(
    messages: Sequence[Mapping[str, Any]], system: str | None, tools: Sequence[Mapping[str, Any]]
) -> Conversation:
    """Messages of the page's storage with what stands above them."""
    first = (Message(role="system", content=system),) if system else ()
    return Conversation(
        messages=(*first, *map(message_of, messages)), tools=tuple(dict(tool.get("function", tool)) for tool in tools)
    )


def _store(folder: Path, name: str, sample: Sample, wants: type[Sample]) -> tuple[str, int]:
    if not name or any(char in name for char in '/\\:*?"<>|') or name.startswith("."):
        raise DataError(f'"{name}" is no name for a dataset.', "Use letters, digits, - and _.")
    row = next(rows_of([sample], FORMATTING, wants))
    entry = entry_for(FORMATTING, wants, f"{name}.jsonl")
    info_file, file = folder / INFO_FILE, folder / f"{name}.jsonl"
    info = read_info(info_file) if info_file.is_file() else {}
    if name in info and info[name] != entry:
        raise DataError(f'"{name}" is registered as something else.', "Choose another name.")
    if name not in info and file.exists():
        raise DataError(f"{file} exists and is not registered.", "Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    append_line(file, json.dumps(row, ensure_ascii=False).encode())
    if name not in info:
        write_atomic(info_file, json.dumps({**info, name: entry}, ensure_ascii=False, indent=2) + "\n")
    with file.open("rb") as lines:
        return name, sum(1 for _ in lines)
