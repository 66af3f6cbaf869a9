"""What the data page does to files: take uploads, edit rows, split, mix. The old file is kept beside a changed one.

Enters: names, rows, uploads.  Leaves: files in the data folder and entries in dataset_info.json. Never touches a file outside
it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from luthier.config import Config
from luthier.datasets.lookup import INFO_FILE, read_info
from luthier.datasets.write import entry_for, rows_of, write_rows
from luthier.errors import DataError
from luthier.runtime.files import write_atomic
from luthier.types import Sample, Text
from luthier.webui.paths import safe_name
from luthier.workflows.data import SAMPLE_OF, read_as_it_is

TAKEN = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
EDITED = (".json", ".jsonl")
MOST_ROWS = 2000
SHOWN_TEXT = 20_000
LOOKED_AT = 256 << 10
BLANK = re.compile(r"\{\{(\w+)\}\}")


def upload_target(folder: Path, name: str) -> Path:
    """Where an uploaded file goes. Raises DataError for one of another kind, or one that is there already."""
    target = folder / safe_name(name)
    if target.suffix.lower() not in TAKEN or target.name == INFO_FILE:
        raise DataError("kind", ", ".join(TAKEN))
    if target.exists():
        raise DataError("exists", target.name)
    return target


# ---- editing ----


def read_table(file: Path) -> tuple[list[dict[str, Any]], bool]:
    """(rows as texts for a grid, whether these are all). Columns that hold lists or objects are shown as JSON."""
    if file.suffix not in EDITED:
        raise DataError("kind", ", ".join(EDITED))
    rows = list(islice(_raw_rows(file), MOST_ROWS + 1))
    return [_shown(number, row) for number, row in enumerate(rows[:MOST_ROWS])], len(rows) <= MOST_ROWS


def write_table(file: Path, shown: Sequence[Mapping[str, Any]], read_at: float) -> tuple[int, Path]:
    """Write the rows of a grid back; (their number, the file as it was before). Raises DataError naming row and column of bad
    JSON, and where the file was changed by somebody else since read_at."""
    if file.stat().st_mtime != read_at:
        raise DataError("changed")
    before = list(_raw_rows(file))
    rows = [_raw(number, row, before) for number, row in enumerate(shown, start=1)]
    rows += before[MOST_ROWS:]
    backup = file.with_name(f"{file.name}.bak")
    write_atomic(backup, file.read_bytes(), durable=False)
    write_rows(file, rows)
    return len(rows), backup


def _raw_rows(file: Path) -> Iterable[dict[str, Any]]:
    try:
        if file.suffix == ".jsonl":
            with file.open("rb") as lines:
                yield from (orjson.loads(line) for line in lines if line.strip())
        else:
            rows = orjson.loads(file.read_bytes())
            if not isinstance(rows, list):
                raise DataError("kind", "[...]")
            yield from rows
    except orjson.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON: {error.msg}.") from None


def _shown(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    cells = {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in row.items()}
    return {"#": number + 1, **cells}


def _raw(number: int, shown: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the grid as it goes into the file: a cell that was text stays text, others are read as JSON."""
    origin = shown.get("#")
    old = before[origin - 1] if isinstance(origin, int) and 0 < origin <= len(before) else {}
    row = {}
    for key, value in shown.items():
        if key == "#" or (value in (None, "") and key not in old):
            continue
        like = old.get(key, next((one[key] for one in before if key in one), ""))
        if isinstance(like, str) or not isinstance(value, str):
            row[key] = value
            continue
        try:
            row[key] = json.loads(value)
        except ValueError:
            raise DataError("wrong", f"{number}\t{key}") from None
    return row


# ---- blanks ----


def blanks(folder: Path, name: str) -> list[str]:
    """What a registered dataset leaves open as {{...}}: ["name", "author"]. Empty where its file cannot be read as text."""
    try:
        with _text_file(folder, name).open("rb") as file:
            text = file.read(LOOKED_AT).decode("utf-8", "ignore")
    except (OSError, KeyError, TypeError, DataError):
        return []
    return list(dict.fromkeys(BLANK.findall(text)))


def fill_in(folder: Path, name: str, values: Mapping[str, str], new: str) -> int:
    """Write a copy of a dataset with its blanks filled and register it as new; how many were filled."""
    if missing := [blank for blank, value in values.items() if not value.strip()]:
        raise DataError(f"{', '.join(missing)}: nothing is written there.")
    _refuse_taken(folder, new)
    info = read_info(folder / INFO_FILE)
    file = _text_file(folder, name)
    count = 0

    def written(match: re.Match[str]) -> str:
        nonlocal count
        count += match[1] in values
        return json.dumps(values[match[1]].strip(), ensure_ascii=False)[1:-1] if match[1] in values else match[0]

    text = BLANK.sub(written, file.read_text(encoding="utf-8"))
    write_atomic(folder / f"{new}{file.suffix}", text)
    entry = {**info[name], "file_name": f"{new}{file.suffix}"}
    write_atomic(folder / INFO_FILE, json.dumps({**info, new: entry}, ensure_ascii=False, indent=2) + "\n")
    return count


def _text_file(folder: Path, name: str) -> Path:
    """The JSON file of a registered dataset, in folder and nowhere else."""
    file = (folder / str(read_info(folder / INFO_FILE)[name]["file_name"])).resolve()
    if file.suffix not in EDITED or not file.is_relative_to(folder.resolve()):
        raise DataError("kind", ", ".join(EDITED))
    return file


# ---- splitting and mixing ----


def split(folder: Path, name: str, share: float, seed: int = 42) -> tuple[tuple[str, int], tuple[str, int]]:
    """Write <name>_train and <name>_test and register both; ((name, rows), (name, rows)). The order is kept in each."""
    samples, wants = _samples(folder, name)
    if not 0 < share < 1 or len(samples) < 2:
        raise DataError(f"{len(samples)} samples cannot be split by {share:g}.", "The share lies between 0 and 1.")
    held = set(random.Random(seed).sample(range(len(samples)), max(1, min(len(samples) - 1, round(share * len(samples))))))
    parts = [sample for at, sample in enumerate(samples) if at not in held], [samples[at] for at in sorted(held)]
    names = f"{name}_train", f"{name}_test"
    for new in names:
        _refuse_taken(folder, new)
    first, second = (_write(folder, new, part, wants) for new, part in zip(names, parts))
    return (names[0], first), (names[1], second)


def mix(folder: Path, names: Sequence[str], new: str, most: int | None = None, seed: int = 42) -> int:
    """Write the samples of several datasets, shuffled, as a new one; the number of rows. most: of each."""
    _refuse_taken(folder, new)
    chosen, kinds = [], set()
    for name in names:
        samples, wants = _samples(folder, name)
        kinds.add(wants)
        chosen += random.Random(seed).sample(samples, most) if most and most < len(samples) else samples
    if len(kinds) != 1:
        raise DataError("these datasets hold different things and cannot be mixed.", "Choose datasets of one kind.")
    random.Random(seed).shuffle(chosen)
    return _write(folder, new, chosen, kinds.pop())


def forget(folder: Path, name: str) -> None:
    """Take a name out of dataset_info.json."""
    info = read_info(folder / INFO_FILE)
    info.pop(name, None)
    write_atomic(folder / INFO_FILE, json.dumps(info, ensure_ascii=False, indent=2) + "\n")


def _samples(folder: Path, name: str) -> tuple[list[Sample], type[Sample]]:
    stream, wants = read_as_it_is(Config(dataset=[name], dataset_dir=str(folder)))
    return list(stream), wants


def _refuse_taken(folder: Path, name: str) -> None:
    if safe_name(name) != name:
        raise DataError(f'"{name}" is no name for a dataset.', "Use letters, digits, - and _.")
    info = read_info(folder / INFO_FILE) if (folder / INFO_FILE).is_file() else {}
    if name in info or any((folder / f"{name}{suffix}").exists() for suffix in EDITED):
        raise DataError(f'"{name}" is registered in {folder / INFO_FILE} already.', "Choose another name.")


def _write(folder: Path, name: str, samples: Sequence[Sample], wants: type[Sample]) -> int:
    assert wants in SAMPLE_OF.values()
    formatting = "text" if wants is Text else "openai"
    count = write_rows(folder / f"{name}.jsonl", rows_of(samples, formatting, wants))
    info = read_info(folder / INFO_FILE) if (folder / INFO_FILE).is_file() else {}
    entry = entry_for(formatting, wants, f"{name}.jsonl")
    write_atomic(folder / INFO_FILE, json.dumps({**info, name: entry}, ensure_ascii=False, indent=2) + "\n")
    return count
