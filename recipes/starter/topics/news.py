"""Headlines that nobody printed, with their category."""

from __future__ import annotations

import random

from .base import Item, Language, capital, table


class News:
    """Ten categories; patterns and fillings of news.yaml."""

    name = "news"

    def __init__(self) -> None:
        self._spec = table("news")
        self._labels = list(self._spec["labels"])

    def draw(self, rng: random.Random, language: Language) -> Item:
        label, title = self._title(rng, language)
        ask = rng.choice(self._spec["ask"][language]).format(title=title)
        if rng.random() < 0.15:
            ask = self._spec["choices"][language] + ask
        name = self._spec["labels"][label][language]
        return Item(topic=self.name, language=language, question=ask, answer=name, key=name)

    def say(self, rng: random.Random, language: Language) -> str:
        label, title = self._title(rng, language)
        name = self._spec["labels"][label][language]
        return f"{capital(name)}: {title}" if language == "en" else f"{name}：{title}"

    def _title(self, rng: random.Random, language: Language) -> tuple[str, str]:
        label = rng.choice(self._labels)
        slots: dict[str, str] = {}
        for name, words in self._spec["fill"].items():
            if name.endswith(language) or name == "n":
                word = str(rng.choice(words))
                short = name.removesuffix(f"_{language}")
                slots |= {short: word, short.capitalize(): capital(word)}
        slots["team2"] = rng.choice([team for team in self._spec["fill"][f"team_{language}"] if team != slots["team"]])
        title = rng.choice(self._spec[language][label]).format(**slots)
        return label, capital(title)
