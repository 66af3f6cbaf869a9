"""Did both sides do the same work? Each check is one line of the table; a benchmark whose checks fail says so and exits 1.

Enters: the encoded rows and the steps of each side. Leaves: Checks. Never repairs anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.sides import StepRow
from bench.tokens import TokenRow, count_supervised, count_tokens, first_difference, tail_labels

FIRST_LOSS = 1e-4
LAST_LOSS = 0.02
"""Relative. LoRA starts as the base (B = 0), so the loss of step 1 is known beforehand whatever the seed; later ones differ by
the random A matrices."""

HELD_OUT_GAIN = 0.15
"""How far the falls of the held-out loss may lie apart, relative to the peer's."""


@dataclass(slots=True)
class Checks:
    """lines: (passed, what was compared)."""

    lines: list[tuple[bool, str]] = field(default_factory=list)

    def add(self, passed: bool, text: str) -> None:
        self.lines.append((passed, text))

    @property
    def passed(self) -> bool:
        return all(passed for passed, _ in self.lines)

    def markdown(self) -> str:
        return "\n".join(f"- {'ok' if passed else '**FAILED**'}: {text}" for passed, text in self.lines)


def same_rows(checks: Checks, ours: list[TokenRow], theirs: list[TokenRow]) -> None:
    """ids and labels of every row, as each side encodes the file."""
    difference = first_difference(ours, theirs)
    if difference:
        checks.add(False, f"ids and labels of the rows: {difference}")
        return
    text = (
        f"ids and labels of all {len(theirs)} rows are equal ({count_tokens(theirs)} tokens, {count_supervised(theirs)} learned"
    )
    tails = tail_labels(ours, theirs)
    checks.add(True, text + (f"; {tails} of these follow an end-of-turn and only the peer learns them)" if tails else ")"))


def same_steps(
    checks: Checks, steps: Mapping[str, Sequence[StepRow]], reference: str, tokens: int, first_losses: Mapping[str, float]
) -> None:
    """steps: side -> its steps.  reference: the side that the others' curves are held against.  tokens: that all rows have.

    first_losses: side -> the loss that plain transformers finds for the rows of step 1 with that side's labels.
    """
    theirs = steps[reference]
    for side, ours in steps.items():
        checks.add(
            len(ours) == len(theirs) and ours[-1].tokens == tokens,
            f"{side}: {len(ours)} steps, {ours[-1].tokens} real tokens seen (the rows have {tokens})",
        )
        dead = [row.step for row in ours if not (math.isfinite(row.grad_norm) and row.grad_norm > 0)]
        norms = [row.grad_norm for row in ours]
        checks.add(
            not dead, f"{side}: gradient norms between {min(norms):.3g} and {max(norms):.3g}; zero or not finite: {len(dead)}"
        )
        expected = first_losses[side]
        apart = abs(ours[0].loss / expected - 1)
        checks.add(
            apart <= FIRST_LOSS,
            f"{side}: loss of step 1 {ours[0].loss:.5f}; plain transformers finds {expected:.5f} (relative {apart:.1e})",
        )
        if side == reference:
            continue
        end, their_end = _end(ours), _end(theirs)
        apart = abs(end / their_end - 1)
        checks.add(
            apart <= LAST_LOSS,
            f"{side}: mean loss of the last 3 steps {end:.4f}; {reference} {their_end:.4f} (relative {apart:.1e})",
        )


def same_learning(checks: Checks, before: float, after: Mapping[str, float], reference: str) -> None:
    """Held-out loss of the base and of each side's adapter, by plain transformers + peft."""
    fall = before - after[reference]
    for side, loss in after.items():
        apart = abs((before - loss) - fall) / fall if fall > 0 else math.inf
        checks.add(
            loss < before and apart <= HELD_OUT_GAIN,
            f"{side}: held-out loss {before:.4f} -> {loss:.4f} (judged by plain transformers + peft)",
        )


def _end(steps: Sequence[StepRow]) -> float:
    tail = [row.loss for row in steps[-3:]]
    return sum(tail) / len(tail)
