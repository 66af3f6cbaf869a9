"""Is the answer the given one?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


def exact_answer(completions: Sequence[str], reference: Sequence[str | None], **_: Any) -> list[float]:
    r"""1 where the answer's final result equals the reference's, else 0.

    The final result is what stands in the last \boxed{}, else after the last ####, else the last number where the reference is
    one, else the whole text without spaces at its ends. Thinking does not count.
    """
    return [float(_same(answer, wanted)) for answer, wanted in zip(completions, reference, strict=True)]


def _same(answer: str, wanted: str | None) -> bool:
    if wanted is None:
        return False
    target = _result(wanted, wants_number=False)
    number = _number(target)
    found = _result(THINKING.sub("", answer), wants_number=number is not None)
    return found == target or (number is not None and _number(found) == number)


def _result(text: str, *, wants_number: bool) -> str:
    if boxed := BOXED.findall(text):
        return boxed[-1].strip()
    if "####" in text:
        return text.rsplit("####", 1)[1].strip()
    numbers = NUMBER.findall(text)
    return numbers[-1] if wants_number and numbers else text.strip()


def _number(text: str) -> float | None:
    return float(text.replace(",", "")) if NUMBER.fullmatch(text) else None
