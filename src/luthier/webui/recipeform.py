"""The values of a project.yaml as a form has them: what was set, by path; written back only where the whole is right.

Enters: the text of project.yaml, a path such as ("ask", "kind"), a value.  Leaves: a Recipe, and new text.
An API key has no place in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from luthier.documents.prompts import SLOTS, prompt_of, table
from luthier.documents.recipe import Recipe, make_recipe, read_values
from luthier.errors import ConfigError

FILE = "project.yaml"
HEAD = "# A documents project of Luthier; what is left out has its default.\n"
Path = tuple[str, ...]
PROMPT_PARTS = {"clean": "clean", "ask": "ask", "judge": "judge"}
"""Stage -> the part of the recipe that holds its prompts; those of other stages stand under answer."""


class RecipeForm:
    """values: what is set, as plain values. It may be wrong for a while, while somebody types."""

    def __init__(self, text: str):
        self.values: dict[str, Any] = read_values(text, FILE)
        self.right = make_recipe(self.values, FILE)

    def get(self, path: Path) -> Any:
        """What is set, else the default."""
        value: Any = self.values
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                return self.default(path)
            value = value[name]
        return value

    def default(self, path: Path) -> Any:
        """What holds where nothing is set."""
        value: Any = _defaults()
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def set(self, path: Path, value: Any) -> None:
        """Raises ConfigError where the whole is not right with it; the value is kept, so that another one can mend it."""
        self._put(path, value)
        self.right = make_recipe(self.values, FILE)

    def _put(self, path: Path, value: Any) -> None:
        part = self.values
        for name in path[:-1]:
            if not isinstance(part.get(name), dict):
                part[name] = {}
            part = part[name]
        if value == self.default(path) or value is None:
            part.pop(path[-1], None)
        else:
            part[path[-1]] = value
        for depth in range(len(path) - 1, 0, -1):  # no empty parts are left behind
            above: Any = self.values
            for name in path[: depth - 1]:
                above = above[name]
            if not above[path[depth - 1]]:
                del above[path[depth - 1]]

    def text(self) -> str:
        """The whole as YAML."""
        return HEAD + (yaml.safe_dump(self.values, allow_unicode=True, sort_keys=False, width=120) if self.values else "{}\n")

    # ---- prompts ----

    def prompt(self, stage: str, language: str) -> str:
        """The words of a prompt as they would be used, or as they were typed where they cannot be."""
        typed = self.get(_prompt_path(stage, language))
        return typed if isinstance(typed, str) else table(language)[stage]

    def set_prompt(self, stage: str, language: str, text: str | None) -> None:
        """None: Luthier's own again. Raises ConfigError for unknown slots, and for needed ones that are missing."""
        own = text is None or text.strip() == table(language)[stage].strip()
        path = _prompt_path(stage, language)
        before = self.get(path)
        self.set(path, None if own else text)
        try:
            prompt_of(self.right, stage, language)
        except ConfigError:
            self.set(path, before)
            raise

    def is_own_prompt(self, stage: str, language: str) -> bool:
        """Whether it is the recipe's, and not the one that comes with Luthier."""
        return isinstance(self.get(_prompt_path(stage, language)), str)


@cache
def _defaults() -> dict[str, Any]:
    return Recipe().model_dump(mode="json")


def _prompt_path(stage: str, language: str) -> Path:
    part = PROMPT_PARTS.get(stage, "answer")
    return part, "prompts", language if stage in PROMPT_PARTS or stage == "answer" else f"{stage}_{language}"


def prompt_stages() -> Sequence[str]:
    """Every stage that has a prompt."""
    return list(SLOTS)


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """name -> its share of the mix."""
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}
