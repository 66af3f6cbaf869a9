"""What a rule has to say about a loss curve: its name, its words in two languages, its numbers.

What enters: the name of a text of diagnose.yaml and the numbers for it. What leaves: a Reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LR_LADDER = (1.0, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """rule: its name.  en, zh: one paragraph each.  numbers: what was compared.  also: lesser findings."""

    rule: str
    en: str
    zh: str
    numbers: dict[str, float] = field(default_factory=dict)
    also: tuple[Reading, ...] = ()


@cache
def texts() -> dict[str, dict[str, str]]:
    return yaml.safe_load(files("luthier.trainer").joinpath("diagnose.yaml").read_text(encoding="utf-8"))


def say(text: str, numbers: Mapping[str, Any], rule: str | None = None, **words: str) -> Reading:
    """The words of a text with its numbers filled in. rule: its name where it differs from the text's."""
    plain = {key: float(value) for key, value in numbers.items() if not isinstance(value, str)}
    filled = {key: form.format(**{**numbers, **words}) for key, form in texts()[text].items()}
    return Reading(rule=rule or text, en=filled["en"], zh=filled["zh"], numbers=plain)


def round_steps(steps: float) -> int:
    """Two digits: 1234 -> 1200."""
    unit = 10 ** max(len(str(int(steps))) - 2, 0)
    return max(round(steps / unit) * unit, 1)


def rate_words(facts: Mapping[str, Any], factor: float) -> dict[str, str]:
    """The learning rate to try: the old one times factor, on the ladder 1, 2, 3, 5."""
    old = facts.get("learning_rate")
    if not old:
        times = round(factor if factor > 1 else 1 / factor)
        words = (f"{times} times as much", f"提高到 {times} 倍") if factor > 1 else (f"divide it by {times}", f"除以 {times}")
        return {"rate_en": words[0], "rate_zh": words[1]}
    new = nice(old * factor)
    return {"rate_en": f"{new:g} instead of {old:g}", "rate_zh": f"由 {old:g} 改为 {new:g}"}


def nice(value: float) -> float:
    """The nearest 1, 2, 3 or 5 times a power of ten: 1.67e-4 -> 2e-4."""
    power = 10 ** math.floor(math.log10(value))
    return float(f"{min(LR_LADDER, key=lambda step: abs(math.log(value / power / step))) * power:.1g}")
