"""Answers that are labels: accuracy, F1 and the confusion matrix.

Enters: predictions and references as texts. Leaves: a LabelReport, or None where the references are no small set of labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_LABELS = 50
LONGEST_LABEL = 40
OTHER = "(other)"
"""Stands for every answer that is none of the labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """labels: of the references, most frequent first.  matrix[i][j]: references i answered with j; the last column is OTHER."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]

    @property
    def accuracy(self) -> float:
        """Share of answers that are the reference, in percent."""
        total = sum(map(sum, self.matrix))
        return 100 * sum(self.matrix[i][i] for i in range(len(self.labels))) / total

    @property
    def macro_f1(self) -> float:
        """Mean of the labels' F1, in percent, each counting alike."""
        return sum(row["f1"] for row in self.rows()) / len(self.labels)

    def rows(self) -> list[dict[str, Any]]:
        """precision, recall, F1 in percent and support of each label; 0 where nothing was answered so."""
        rows = []
        for i, label in enumerate(self.labels):
            right, wanted, answered = self.matrix[i][i], sum(self.matrix[i]), sum(row[i] for row in self.matrix)
            precision, recall = right / answered if answered else 0.0, right / wanted
            f1 = 2 * precision * recall / (precision + recall) if right else 0.0
            scores = {"precision": precision, "recall": recall, "f1": f1}
            rows.append({"label": label, **{name: round(100 * score, 4) for name, score in scores.items()}, "support": wanted})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "accuracy": round(self.accuracy, 4),
            "macro_f1": round(self.macro_f1, 4),
            "labels": self.rows(),
            "confusion_matrix": {"columns": [*self.labels, OTHER], "rows": [list(row) for row in self.matrix]},
        }


def label_report(predictions: Sequence[str], references: Sequence[str]) -> LabelReport | None:
    """The report; None where references are many, long or hardly ever the same."""
    answers, wanted = [text.strip() for text in predictions], [text.strip() for text in references]
    counts = Counter(wanted)
    if not 2 <= len(counts) <= MOST_LABELS or 2 * len(counts) > len(wanted) or max(map(len, counts)) > LONGEST_LABEL:
        return None
    labels = tuple(label for label, _ in counts.most_common())
    place = {label: i for i, label in enumerate(labels)}
    pairs = Counter(
        (place[reference], place.get(answer, len(labels))) for answer, reference in zip(answers, wanted, strict=True)
    )
    return LabelReport(
        labels=labels, matrix=tuple(tuple(pairs[i, j] for j in range(len(labels) + 1)) for i in range(len(labels)))
    )
