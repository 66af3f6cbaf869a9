"""The prompts: zh.yaml and en.yaml, which a recipe may replace piece by piece. Slots are checked before the first call is
made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from luthier.documents.base import digest
from luthier.documents.recipe import Recipe
from luthier.errors import ConfigError
from luthier.registry import nearest

SLOT = re.compile(r"\{\{\s*(\w+)\s*\}\}")
COMMON = ("title", "section", "text")
SLOTS: Mapping[str, tuple[str, ...]] = {
    "clean": ("text",),
    "ask": (*COMMON, "kind", "count", "types", "difficulties", "persona", "unanswerable_note"),
    "answer": (*COMMON, "question", "style"),
    "refuse": (*COMMON, "question", "style"),
    "dialogue": (*COMMON, "question", "style", "turns"),
    "knowledge": ("title", "text", "question", "style"),
    "judge": ("text", "question", "answer", "answerable"),
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "ask": ("text", "count"),
    "answer": ("text", "question"),
    "judge": ("question", "answer"),
}


@cache
def table(language: str) -> dict[str, Any]:
    """The prompts of one language as they come with Luthier."""
    return yaml.safe_load(Path(__file__).with_name(f"{language}.yaml").read_text(encoding="utf-8"))


def prompt_of(recipe: Recipe, stage: str, language: str) -> str:
    """The prompt of a stage: the recipe's, else Luthier's. Raises ConfigError for slots that are unknown or missing."""
    parts = {"clean": recipe.clean.prompts, "ask": recipe.ask.prompts, "judge": recipe.judge.prompts}
    own = parts.get(stage, recipe.answer.prompts)
    text = own.get(language) if stage in parts or stage == "answer" else own.get(f"{stage}_{language}")
    if text is None:
        return table(language)[stage]
    part = f"{'answer' if stage in ('refuse', 'dialogue', 'knowledge') else stage}.prompts.{language}"
    slots = set(SLOT.findall(text))
    for slot in sorted(slots - set(SLOTS[stage])):
        close = nearest(slot, list(SLOTS[stage]))
        hint = f"Did you mean {{{{{close[0]}}}}}? " if close else ""
        raise ConfigError(f"{part}: unknown slot {{{{{slot}}}}}.", f"{hint}Known: {', '.join(SLOTS[stage])}")
    if missing := [slot for slot in NEEDED.get(stage, ()) if slot not in slots]:
        raise ConfigError(
            f"{part}: the slot {{{{{missing[0]}}}}} is missing.", "Without it the model does not see what it is asked about."
        )
    return text


def fill(prompt: str, slots: Mapping[str, object]) -> str:
    """The prompt with its slots filled; lines that become empty are left out."""
    lines = []
    for line in prompt.splitlines():
        filled = SLOT.sub(lambda match: str(slots[match.group(1)]), line)
        if filled.strip() or not SLOT.search(line):
            lines.append(filled)
    return "\n".join(lines).strip()


def prompt_key(recipe: Recipe, stage: str) -> str:
    """Changes when the words of a prompt do."""
    return digest(*(prompt_of(recipe, stage, language) for language in ("en", "zh")))
