"""dataset_info.json: what each dataset name stands for.

Enters: a dataset_dir (a folder, a dict, ONLINE or REMOTE:<hub repository>) and a name or a path.
Leaves: an Entry: where the rows are, how they are written, which column means what.
Never reads a row, and never guesses where dataset_info.json speaks.

The meaning of every key is LLaMA-Factory's, with one trap removed: a column or tag that "columns" or "tags" does not
list keeps its default (there it became None). A default whose column is already mapped to something else is not applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import DataError
from luthier.registry import nearest

SOURCE_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")
"""In LLaMA-Factory's order of priority; a ms_hub_url wins over hf_hub_url when the ModelScope hub is chosen."""

COLUMN_DEFAULTS: Mapping[str, Mapping[str, str | None]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "openai": {"messages": "messages", "tools": "tools"},
    "text": {"prompt": "text"},
}
RANKING_DEFAULTS = {"chosen": "chosen", "rejected": "rejected"}
COLUMN_KEYS = (
    *("prompt", "query", "response", "history", "messages", "system", "tools"),
    *("images", "videos", "audios", "chosen", "rejected", "kto_tag"),
)

TAG_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "sharegpt": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    },
    "openai": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    },
}
FORMATTINGS = ("alpaca", "sharegpt", "openai", "text")
MAX_NUM_SAMPLES = 10**12
ENTRY_KEYS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(SOURCE_KEYS, str),
    **dict.fromkeys(("formatting", "subset", "split", "folder", "revision", "encoding"), str),
    "ranking": bool,
    "num_samples": int,
    "columns": Mapping,
    "tags": Mapping,
    "file_sha1": str,
}
"""revision and encoding are ours; file_sha1 is from old LLaMA-Factory files and means nothing today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One dataset. columns and tags are complete: every key that the format knows, None where there is no such column.

    source: one of SOURCE_KEYS.  location: its value.  base: folder against which a file_name is resolved.
    listed: the column keys that dataset_info.json itself maps.  notes: what the user should know about this entry.
    """

    name: str
    source: str
    location: str
    base: str = "."
    formatting: str = "alpaca"
    ranking: bool = False
    subset: str | None = None
    split: str = "train"
    folder: str | None = None
    revision: str | None = None
    encoding: str | None = None
    num_samples: int | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> str:
        """What its rows are: preference, rated, text or conversation."""
        if self.ranking:
            return "preference"
        if self.columns.get("kto_tag"):
            return "rated"
        return "text" if self.formatting == "text" else "conversation"


def parse_entry(name: str, raw: Any, *, base: str, where: str, modelscope: bool = False) -> Entry:
    """The Entry of one dataset_info.json value. where: what to call its place in messages. Raises DataError."""
    at = f'{where}: dataset "{name}"'
    if not isinstance(raw, Mapping):
        raise DataError(f"{at} is {_a(raw)}, not an object.", f'Write {{"{name}": {{"file_name": "{name}.json"}}}}')
    notes = _check_keys(at, "key", raw, ENTRY_KEYS)
    for key, kind in ENTRY_KEYS.items():
        value = raw.get(key)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise DataError(f'{at}: "{key}" is {_a(value)}.', f"It must be {_KIND_NAMES[kind]}.")
    formatting = raw.get("formatting") or "alpaca"
    if formatting not in FORMATTINGS:
        close = nearest(formatting, list(FORMATTINGS))
        raise DataError(
            f'{at}: unknown formatting "{formatting}".',
            (f'Did you mean "{close[0]}"? ' if close else "") + f"Known: {', '.join(FORMATTINGS)}",
        )
    num_samples = raw.get("num_samples")
    if num_samples is not None and not 1 <= num_samples <= MAX_NUM_SAMPLES:
        raise DataError(f'{at}: "num_samples" is {num_samples}.', f"It must be at least 1 and at most {MAX_NUM_SAMPLES:,}.")
    source = _source(at, raw, modelscope)
    columns, listed = _columns(at, raw, formatting, notes)
    return Entry(
        name=name,
        source=source,
        location=raw[source],
        base=base,
        formatting=formatting,
        ranking=bool(raw.get("ranking")),
        subset=raw.get("subset"),
        split=raw.get("split") or "train",
        folder=raw.get("folder"),
        revision=raw.get("revision"),
        encoding=raw.get("encoding"),
        num_samples=num_samples,
        columns=columns,
        tags=_tags(at, raw, formatting, notes),
        listed=listed,
        notes=tuple(notes),
    )


def _source(at: str, raw: Mapping[str, Any], modelscope: bool) -> str:
    given = [key for key in SOURCE_KEYS if raw.get(key)]
    if not given:
        raise DataError(f"{at} does not say where its rows are.", f"Give one of: {', '.join(SOURCE_KEYS)}")
    if modelscope and "ms_hub_url" in given:
        return "ms_hub_url"
    usable = [key for key in given if key not in ("om_hub_url", "script_url")]
    if usable:
        return usable[0]
    if given[0] == "script_url":
        raise DataError(
            f'{at}: "script_url" is not supported: it would run Python code from {raw["script_url"]} on this machine.',
            "Let the script write a .jsonl file once and name that in file_name.",
        )
    raise DataError(f'{at}: only "om_hub_url" is given; the Modelers hub is not supported.', "Download it and use file_name.")


def _columns(at: str, raw: Mapping[str, Any], formatting: str, notes: list[str]):
    given = raw.get("columns") or {}
    notes += _check_keys(at, "column", given, dict.fromkeys(COLUMN_KEYS))
    for key, value in given.items():
        if value is not None and not isinstance(value, str):
            raise DataError(f'{at}: columns."{key}" is {_a(value)}.', "It must be the name of a column of the rows.")
    defaults = {**COLUMN_DEFAULTS[formatting], **(RANKING_DEFAULTS if raw.get("ranking") else {})}
    claimed = {value for value in given.values() if value}
    columns = dict.fromkeys(COLUMN_KEYS)
    columns |= {key: column for key, column in defaults.items() if column not in claimed}
    columns |= {key: value or None for key, value in given.items() if key in columns}
    return columns, frozenset(key for key in given if key in columns)


def _tags(at: str, raw: Mapping[str, Any], formatting: str, notes: list[str]) -> dict[str, str]:
    given = raw.get("tags") or {}
    defaults = TAG_DEFAULTS.get(formatting)
    if defaults is None:
        if given:
            notes.append(f'"tags" have no meaning in formatting {formatting}')
        return {}
    notes += _check_keys(at, "tag", given, defaults)
    for key, value in given.items():
        if not isinstance(value, str) or not value:
            raise DataError(f'{at}: tags."{key}" is {_a(value)}.', "It must be the word that the rows use.")
    return {key: given.get(key, default) for key, default in defaults.items()}


def _check_keys(at: str, kind: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """A key that looks like a misspelt one is an error; a foreign one (a description, a licence) is a note."""
    notes = []
    for key in given:
        if key in known:
            continue
        close = nearest(str(key), list(known))
        if close:
            raise DataError(f'{at}: unknown {kind} "{key}".', f'Did you mean "{close[0]}"?')
        notes.append(f'{kind} "{key}" is not known and was not used')
    return notes


_KIND_NAMES = {str: "text", bool: "true or false", int: "a whole number", Mapping: "an object"}


def _a(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"{value!r}")
