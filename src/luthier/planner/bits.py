"""How many bits a weight of a quantised base takes, scales included: by the keys that quantise it, or by its config.json.

Enters: names and numbers (bits.yaml has the table). Leaves: bits a weight. Never opens a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("bits.yaml")
USUAL_GROUP = 128
BITS = ("bits", "w_bit", "nbits", "num_bits", "weight_bits")
GROUPS = ("group_size", "q_group_size")
"""Names that the libraries' settings give the same thing."""


@cache
def table() -> Mapping[str, Mapping[Any, Any]]:
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def loaded_bits(method: str, bits: int, *, double: bool, value_bits: int) -> float:
    """Of a base that is quantised while it is loaded. value_bits: of the dtype of the computation."""
    rows = table()["loaded"][method]
    return _total(rows.get(f"{bits} double") if double and f"{bits} double" in rows else rows[bits], value_bits)


def stored_bits(settings: Mapping[str, Any], *, value_bits: int) -> float | None:
    """Of a model whose config.json has these quantisation settings; None for a way that is not in the table,
    as are those whose weights are made full."""
    row = table()["stored"].get(str(settings.get("quant_method", "")))
    if row is None:
        return None
    found = dict(_numbers(settings))
    bits = next((found[name] for name in BITS if name in found), 4 if settings.get("load_in_4bit") else 8)
    group = next((found[name] for name in GROUPS if found.get(name, 0) > 0), USUAL_GROUP)
    given = {**row, "packed": row["packed"] if row["packed"] is not None else 4 if bits == 3 else bits}
    if "group" in row and row["group"] is None:
        given["group"] = group
    return _total(given, value_bits)


def _total(row: Mapping[str, float], value_bits: int) -> float:
    return row["packed"] + (row.get("side", 0) + row.get("values", 0) * value_bits) / row.get("group", 1)


def _numbers(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """All numbers in nested settings; those outside win."""
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from _numbers(value)
    yield from ((name, value) for name, value in settings.items() if isinstance(value, int | float))
