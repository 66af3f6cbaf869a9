"""Names and words of older configs (aliases.yaml), turned into today's.

Enters: entries by key.  Leaves: the same under today's names.
"""

from collections.abc import Mapping
from dataclasses import replace

from luthier.config.files import Entry
from luthier.config.problems import Problem
from luthier.config.tables import read_table


def today_name(name: str) -> str:
    """The key that is meant by name."""
    return read_table("aliases")["keys"].get(name, name)


def rename(entries: Mapping[str, Entry]) -> tuple[dict[str, Entry], list[Problem]]:
    """Entries under today's keys and words. A key that is set under both its names is a problem."""
    renamed: dict[str, Entry] = {}
    problems: list[Problem] = []
    for name, entry in entries.items():
        key = today_name(name)
        if key in renamed or (key != name and key in entries):
            problems.append(Problem(entry.where, f'"{name}" is the old name of "{key}", and both are set. Keep "{key}".', key))
            continue
        renamed[key] = replace(entry, key=key, value=_today(key, entry.value))
    return renamed, problems


def _today(key: str, value: object) -> object:
    words = read_table("aliases")["values"].get(key, {})
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value
