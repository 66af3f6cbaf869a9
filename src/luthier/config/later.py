"""Keys whose feature is not built yet (later.yaml): set to anything that would need it, they are refused, never ignored.

Enters: a Config.  Leaves: problems.
"""

from collections.abc import Mapping
from typing import Any

from luthier.config.files import Entry
from luthier.config.problems import Problem, shorten
from luthier.config.schema import Config
from luthier.config.tables import read_table
from luthier.config.values import kind_of


def is_built(key: str, value: Any) -> bool:
    """Whether this value of this key does its work today."""
    row = read_table("later").get(key)
    if row is None or value == Config.model_fields[key].default:
        return True
    allowed = row.get("allowed", ())
    return all(item in allowed for item in value) if isinstance(value, list) else value in allowed


def find_later(config: Config, entries: Mapping[str, Entry]) -> list[Problem]:
    """One problem for each key that the user set to a value that is not built."""
    return [_refuse(key, entries) for key in sorted(config.model_fields_set) if not is_built(key, getattr(config, key))]


def _refuse(key: str, entries: Mapping[str, Entry]) -> Problem:
    row = read_table("later")[key]
    shown = "" if kind_of(Config, key).is_secret else f" {shorten(entries[key].value)}"
    built = ", ".join(str(value) for value in row.get("allowed", ()))
    remedy = f"Built: {built}." if built else "Take the key out."
    missing = row.get("reasons", {}).get(str(entries[key].value), row["feature"])
    return Problem(entries[key].where, f"{key}:{shown} is not built yet: {missing}. {remedy}", key)
