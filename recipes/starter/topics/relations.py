"""Topics that are a table: rows of facts and the ways to ask for one column (geography, opposites, calendar ...)."""

from __future__ import annotations

import random
from typing import Any

from .base import LANGUAGES, Deck, Item, Language, fields, read_rows, table

FILES = ("geography", "opposites", "animals", "things", "calendar", "grammar", "translation")


class Relation:
    """One relation. rows: the facts.  spec: "key" (the asked column); per language "say", "forms" (ask, answer), "proof"."""

    def __init__(self, name: str, spec: dict[str, Any], rows: list[dict[str, str]]):
        self.name = name
        self._key = spec["key"]
        self._proof = {language: spec.get(language, {}).get("proof") for language in LANGUAGES}
        self._ask: dict[str, Deck] = {}
        self._say: dict[str, Deck] = {}
        for language in LANGUAGES:
            part = spec.get(language, {})
            filled = [fields(row, language) for row in rows]
            asks = [(values, ask, form["answer"]) for values in filled for form in part.get("forms", ()) for ask in form["ask"]]
            self._ask[language] = Deck(asks)
            self._say[language] = Deck([say.format(**values) for values in filled for say in part.get("say", ())])

    @property
    def languages(self) -> tuple[Language, ...]:
        return tuple(language for language in LANGUAGES if len(self._ask[language]))

    def size(self, language: Language) -> int:
        """How many different questions there are."""
        return len(self._ask[language])

    def draw(self, rng: random.Random, language: Language) -> Item:
        values, ask, answer = self._ask[language].deal(rng)
        proof = self._proof[language]
        return Item(
            topic=self.name,
            language=language,
            question=ask.format(**values),
            answer=answer.format(**values),
            key=values[self._key],
            proof=proof.format(**values) if proof else None,
        )

    def say(self, rng: random.Random, language: Language) -> str:
        return self._say[language].deal(rng) if len(self._say[language]) else ""


def word_rows() -> list[dict[str, str]]:
    """All words of words.yaml: kind, en (with its *), zh."""
    rows = []
    for kind, spec in table("words").items():
        for pair in spec["words"].split(","):
            english, _, chinese = pair.strip().partition("=")
            rows.append({"kind": kind, "en": english, "zh": chinese})
    return rows


def relations() -> list[Relation]:
    """Every relation of every table file."""
    found = []
    for file in FILES:
        specs = table(file)
        for name, spec in specs.items():
            if "rows_of" in spec:
                source = spec["rows_of"]
                found.append(Relation(name, spec, word_rows() if source == "words" else read_rows(specs[source])))
    return found
