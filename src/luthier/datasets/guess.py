"""What a data file holds, told from its first rows: the formatting, the columns and the tags of an Entry.

Used for a bare path in `dataset:` and by `luthier data register`. Never guesses in silence: what it took is in Entry.notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.datasets.formats.columns import LIKELY
from luthier.datasets.info import TAG_DEFAULTS, Entry, parse_entry
from luthier.datasets.sources.local import FilesSource
from luthier.datasets.sources.open import files_at
from luthier.errors import DataError

ROWS_LOOKED_AT = 50
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text")
ROLE_WORDS: Mapping[str, tuple[str, ...]] = {
    "user_tag": ("human", "user", "prompter"),
    "assistant_tag": ("gpt", "assistant", "bot", "chatgpt", "model", "ai"),
    "observation_tag": ("observation", "tool", "function_response", "function-response", "ipython"),
    "function_tag": ("function_call", "tool_call", "function-call"),
    "system_tag": ("system", "developer"),
}
TEXT_COLUMNS = ("text", "content", "raw_content", "document")


def guess_entry(name: str, location: str) -> Entry:
    """The Entry of a path, glob or URL that nobody registered. Raises DataError naming its keys when they mean nothing."""
    raw = guess_raw(name, location)
    entry = parse_entry(name, raw, base=".", where=location)
    mapped = ", ".join(f"{key}={column}" for key, column in (raw.get("columns") or {}).items() if column)
    note = f"not registered, read as {entry.formatting}: {mapped}" if mapped else "not registered, read as text"
    return replace(entry, notes=(*entry.notes, note))


def guess_raw(name: str, location: str) -> dict[str, Any]:
    """The same as dataset_info.json writes it."""
    if Path(location, "dataset_info.json").is_file():
        raise DataError(
            f"{location} is a folder with its own dataset_info.json.",
            f"Set dataset_dir: {location} and dataset: a name in that file.",
        )
    files = files_at(location, ".", None, f'dataset "{name}"')
    raw: dict[str, Any] = {"cloud_file_name" if "://" in location else "file_name": location}
    if {file.suffix for file in files} <= {".txt", ".md"}:
        raw["formatting"] = "text"
    else:
        rows = (row for _, _, row in islice(FilesSource(files).rows(), ROWS_LOOKED_AT) if isinstance(row, Mapping))
        raw |= guess_shape(list(rows), location)
    return raw


def guess_shape(rows: list[Mapping[str, Any]], where: str) -> dict[str, Any]:
    """formatting, ranking, columns and tags as dataset_info.json writes them."""
    keys = list(dict.fromkeys(key for row in rows for key in row if isinstance(key, str) and row[key] is not None))
    columns = {key: column for key in ("system", "tools", "history") if (column := _first(LIKELY[key], keys))}
    shape: dict[str, Any] = {}
    if {"chosen", "rejected"} <= set(keys):
        shape["ranking"] = True
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    rating = next((key for key in LIKELY["kto_tag"] if any(isinstance(row.get(key), bool) for row in rows)), None)
    if rating:
        columns["kto_tag"] = rating
    messages = _message_column(rows, keys)
    if messages is None and "ranking" in shape and any(_messages(row.get("chosen")) for row in rows):
        return shape | _message_shape(rows, "chosen") | {"columns": columns}
    if messages:
        shape |= _message_shape(rows, messages)
        columns.pop("history", None)
        return shape | {"columns": {"messages": messages, **columns}}
    shape["formatting"] = "alpaca"
    prompt = _first(LIKELY["prompt"], keys)
    response = None if "ranking" in shape else _first(LIKELY["response"], [key for key in keys if key != prompt])
    if prompt in (None, *TEXT_COLUMNS) and not response and "ranking" not in shape:
        text = _first(TEXT_COLUMNS, keys)
        if text is None:
            if not rows:
                raise DataError(f"{where} is empty: it has no row.", "Name a file that holds data.")
            shown = ", ".join(map(str, keys[:12])) or "none"
            raise DataError(
                f"{where}: cannot tell what its rows mean (keys: {shown}).",
                'Register it in dataset_info.json and map them: {"my_set": {"file_name": ..., "columns": {"prompt": ...}}}',
            )
        return {"formatting": "text", "columns": {"prompt": text}}
    query = _first(LIKELY["query"], [key for key in keys if key not in (prompt, response)])
    return shape | {"columns": {"prompt": prompt, "query": query, "response": response, **columns}}


def _first(likely: Iterable[str], keys: Iterable[str]) -> str | None:
    keys = set(keys)
    return next((name for name in likely if name in keys), None)


def _message_column(rows: list[Mapping[str, Any]], keys: list[str]) -> str | None:
    """The column that holds lists of messages: a likely name first."""
    for key in (*LIKELY["messages"], *keys):
        if key not in ("chosen", "rejected", "tools", "history") and any(_messages(row.get(key)) for row in rows):
            return key
    return None


def _messages(value: Any) -> list[Mapping[str, Any]]:
    """value as a list of messages; empty if it is none. [[...]] is unwrapped."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], (list, tuple)):
        value = value[0]
    if not isinstance(value, (list, tuple)) or not value:
        return []
    good = all(isinstance(item, Mapping) and any(isinstance(item.get(key), str) for key in ROLE_KEYS) for item in value)
    return list(value) if good else []


def _message_shape(rows: list[Mapping[str, Any]], column: str) -> dict[str, Any]:
    messages = [message for row in rows for message in _messages(row.get(column))]
    role_key = next(key for key in ROLE_KEYS if isinstance(messages[0].get(key), str))
    content_key = next((key for key in CONTENT_KEYS if any(key in message for message in messages)), "content")
    words = {word for message in messages if isinstance(word := message.get(role_key), str)}
    if (
        role_key == "role"
        and content_key == "content"
        and words <= {"user", "assistant", "system", "tool", "developer", "function"}
    ):
        return {"formatting": "openai"}
    tags = {"role_tag": role_key, "content_tag": content_key}
    for tag, likely in ROLE_WORDS.items():
        found = _first(likely, words)
        tags |= {tag: found} if found else {}
    defaults = TAG_DEFAULTS["sharegpt"]
    return {"formatting": "sharegpt", "tags": {tag: word for tag, word in tags.items() if defaults[tag] != word}}
