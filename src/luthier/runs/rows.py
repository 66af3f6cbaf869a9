"""Rows of JSON lines: how they are written, and how a file that is still growing is read.

What enters: mappings, files. What leaves: bytes, mappings. It knows nothing of runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a .jsonl file that may be growing: rows that are not whole are left out."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def plain_number(value: Any) -> Any:
    """numpy and torch scalars become Python numbers; NaN and infinities, which JSON has not, become None."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode()
