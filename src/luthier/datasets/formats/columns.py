"""Columns that every format treats alike: media (not built yet), the rating, the columns nobody asked for, missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from luthier.datasets.formats.messages import bad_row, kind_of
from luthier.datasets.info import Entry
from luthier.registry import nearest
from luthier.types import Origin, Sample, Text

MEDIA = ("images", "videos", "audios")
_TRUE_FALSE = {"true": True, "false": False, "1": True, "0": False}


def media_free(row: Mapping[str, Any], columns: Mapping[str, str | None], origin: Origin) -> None:
    """Raises DataError when the row brings a picture, a video or a sound: text only so far."""
    for kind in MEDIA:
        if columns[kind] and row.get(columns[kind]):
            raise bad_row(origin, f'holds {kind} in "{columns[kind]}"', f"not built yet: training on {kind}.")


def parse_rating(row: Mapping[str, Any], column: str, origin: Origin) -> bool:
    """The KTO tag: true or false, also as 1 and 0 or as words."""
    value = row.get(column)
    rating = _TRUE_FALSE.get(str(value).strip().lower()) if isinstance(value, (bool, int, str)) else None
    if rating is None:
        found = f"has {kind_of(value)} in" if column in row else "lacks"
        raise bad_row(origin, f'{found} "{column}", the rating of its answer', "Write true (a good answer) or false.")
    return rating


def other_columns(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> dict[str, Any]:
    """What the row holds besides the columns that the format reads."""
    used = set(columns.values())
    return {key: value for key, value in row.items() if key not in used}


def need_columns(row: Mapping[str, Any], columns: Mapping[str, str | None], keys: Iterable[str], origin: Origin) -> None:
    """Raises DataError for the first of keys whose column the row does not fill, with the mapping that would mend it."""
    for key in keys:
        column = columns[key]
        if column and row.get(column) is not None:
            continue
        if column is None:
            raise bad_row(
                origin, f"cannot be used: no column is mapped to {key}", f'dataset_info.json: "columns": {{"{key}": ...}}'
            )
        if column in row:
            raise bad_row(origin, f'has null in "{column}"', "Fill it or delete the row.")
        used = set(columns.values())
        free = [name for name in row if isinstance(name, str) and name not in used]
        guess = next(iter(nearest(column, free) or [name for name in free if name in LIKELY[key]]), None)
        names = ", ".join(str(name) for name in row) or "none"
        remedy = f'Map it in dataset_info.json: "columns": {{"{key}": "{guess}"}}' if guess else f'Map {key} in "columns".'
        raise bad_row(origin, f'has no "{column}" (keys: {names})', remedy)


LIKELY: Mapping[str, tuple[str, ...]] = {
    "prompt": ("instruction", "prompt", "question", "query", "input", "text", "content"),
    "query": ("input", "query", "context"),
    "response": ("output", "response", "answer", "completion", "target", "summary"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "question"),
    "chosen": ("chosen", "preferred", "accepted", "response_w"),
    "rejected": ("rejected", "dispreferred", "response_l"),
    "system": ("system", "system_prompt"),
    "tools": ("tools", "functions", "function"),
    "history": ("history",),
    "kto_tag": ("kto_tag", "label", "desirable"),
}
"""Column names that people use for each key, likeliest first; guess.py reads it too."""


def column_notes(row: Mapping[str, Any], entry: Entry, wants: type[Sample]) -> list[str]:
    """What a user of LLaMA-Factory would not expect of how this row's columns are used."""
    notes = []
    used = {column: key for key, column in entry.columns.items() if column}
    for column, key in used.items():
        if entry.listed and key not in entry.listed and row.get(column):
            notes.append(
                f'column "{column}" is read as {key} although "columns" does not list it; "{key}": null there switches it off'
            )
    for key in ("system", "tools", "history"):
        if not entry.columns[key] and key not in used and key not in entry.listed and row.get(key):
            notes.append(f'column "{key}" is not used: "columns" does not map it')
    response = entry.columns.get("response")
    if wants is Text and response and row.get(response):
        notes.append(f'column "{response}" is not learned: pre-training reads the prompt column only')
    return notes
