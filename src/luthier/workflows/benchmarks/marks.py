"""What a benchmark gives, and how it is kept: results.json and results.log in save_dir."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luthier.runtime.files import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """average: in percent, None where the benchmark has none.  categories, subjects: the same of its parts, by name.

    answers: what results.json holds.
    """

    average: float | None
    categories: Mapping[str, float]
    answers: Any
    subjects: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Plain JSON, without the answers."""
        whole = {} if self.average is None else {"average": self.average}
        parts = whole | {"categories": dict(self.categories)}
        return parts | ({"subjects": dict(self.subjects)} if self.subjects else {})

    def lines(self) -> list[str]:
        """For people, and for results.log: LLaMA-Factory's form."""
        whole = [] if self.average is None else [("Average", self.average)]
        return [f"{name:>15}: {value:.{2 if whole else 4}f}" for name, value in [*whole, *self.categories.items()]]


def percent(right: list[bool]) -> float:
    """Of how many are right; 0 of none."""
    return round(100 * sum(right) / len(right), 4) if right else 0.0


def save(marks: Marks, folder: Path) -> None:
    """folder does not exist yet."""
    folder.mkdir(parents=True)
    write_atomic(folder / "results.json", json.dumps(marks.answers, indent=2, ensure_ascii=False, default=str))
    write_atomic(folder / "results.log", "\n".join(marks.lines()))
