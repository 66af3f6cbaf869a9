"""What has happened since the last log row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """Sums over steps, saved with checkpoints so that a resumed run writes the same rows. metrics: name -> [sum, count]."""

    loss: float = 0.0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def add(self, loss: float, tokens: int, seconds: float, metrics: Mapping[str, tuple[float, float]]) -> None:
        self.loss += loss
        self.steps += 1
        self.tokens += tokens
        self.seconds += seconds
        for name, (total, count) in metrics.items():
            entry = self.metrics.setdefault(name, [0.0, 0.0])
            entry[0] += total
            entry[1] += count

    @property
    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.metrics.items() if count}
