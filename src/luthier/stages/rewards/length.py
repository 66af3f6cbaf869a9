"""Is the answer short?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ENOUGH = 200
"""Characters."""


def short_answer(completions: Sequence[str], reference: Sequence[str | None] | None = None, **_: Any) -> list[float]:
    """1 for an answer no longer than its reference (200 characters where there is none), falling to 0 at twice that."""
    wanted = reference or [None] * len(completions)
    limits = [len(text) if text else ENOUGH for text in wanted]
    return [min(1.0, max(0.0, 2 - len(text) / limit)) for text, limit in zip(completions, limits, strict=True)]
