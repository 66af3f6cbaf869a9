"""What became of the rows of each dataset in one pass: read, kept, skipped and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SetCounts:
    """rows: raw rows looked at.  kept: samples made of them.  skipped: reason -> rows.  notes: what the user should know."""

    dataset: str
    rows: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        line = f"{self.dataset}: {self.rows:,} rows, {self.kept:,} samples"
        reasons = ", ".join(f"{count:,} skipped: {reason}" for reason, count in self.skipped.most_common())
        return f"{line} ({reasons})" if reasons else line


@dataclass(slots=True)
class Counts:
    """All sets of one pass, in the order of the config."""

    sets: list[SetCounts] = field(default_factory=list)

    def add(self, dataset: str) -> SetCounts:
        self.sets.append(SetCounts(dataset))
        return self.sets[-1]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.sets)

    @property
    def kept(self) -> int:
        return sum(one.kept for one in self.sets)

    @property
    def skipped(self) -> int:
        return sum(one.skipped.total() for one in self.sets)

    @property
    def notes(self) -> list[str]:
        return [f"{one.dataset}: {note}" for one in self.sets for note in one.notes]

    def __str__(self) -> str:
        return "\n".join(str(one) for one in self.sets)
