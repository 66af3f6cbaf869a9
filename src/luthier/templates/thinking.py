"""Reasoning before an answer: found in text, taken out of it, and the mode in which a template treats it.

In: the text of an assistant. Out: its reasoning and its words. Never decides what is learned: that is the template's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

THINK = ("<think>\n", "\n</think>\n\n")
"""How models that reason write it, and the default of every family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingMode:
    """enabled: `enable_thinking`; None leaves it to the template.

    preserve: `preserve_thinking`, earlier answers keep their reasoning.
    """

    enabled: bool | None = None
    preserve: bool = False

    @classmethod
    def of(cls, config: Any) -> ThinkingMode:
        """From the configuration; a key that the user did not set leaves the choice to the template."""
        given = getattr(config, "model_fields_set", None)
        chosen = given is None or "enable_thinking" in given
        enabled = getattr(config, "enable_thinking", None) if chosen else None
        return cls(enabled=enabled, preserve=bool(getattr(config, "preserve_thinking", False)))


DEFAULT_MODE = ThinkingMode()


def split_thinking(text: str, words: tuple[str, str] = THINK) -> tuple[str | None, str]:
    """Reasoning at the beginning of an answer and the rest; None where there is none.

    >>> split_thinking("<think>\\n2 + 2 = 4\\n</think>\\n\\nFour.")
    ('2 + 2 = 4', 'Four.')
    """
    opening, closing = words[0].strip(), words[1].strip()
    head = text.lstrip()
    if not head.startswith(opening):
        return None, text
    thinking, found, rest = head[len(opening) :].partition(closing)
    if not found:
        return None, text
    return thinking.strip("\n"), rest.lstrip("\n")


def split_generated(text: str, words: tuple[str, str] = THINK) -> tuple[str | None, str]:
    """As split_thinking, for a model's output: the opening word may be part of the prompt, the closing one may never come."""
    opening, closing = words[0].strip(), words[1].strip()
    head = text.lstrip()
    if closing not in text:
        return (head[len(opening) :].strip("\n"), "") if head.startswith(opening) else (None, text)
    thinking, _, rest = (head[len(opening) :] if head.startswith(opening) else text).partition(closing)
    return thinking.strip("\n") or None, rest.lstrip("\n")
