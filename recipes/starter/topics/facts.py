"""Single facts of facts.yaml and small talk of chat.yaml: some ways to ask, one answer."""

from __future__ import annotations

import random

from .base import LANGUAGES, Deck, Item, Language, table


class Facts:
    """Lines "way / way / way = answer = key"; one wording of a fact may be held out."""

    name = "fact"

    def __init__(self) -> None:
        self._decks = {language: Deck(list(self._cards(language))) for language in LANGUAGES}

    def _cards(self, language: Language) -> list[tuple[str, str, str]]:
        cards = []
        for line in table("facts")[language].splitlines():
            ways, answer, key = (part.strip() for part in line.split(" = "))
            cards += [(way.strip(), answer, key) for way in ways.split("/")]
        return cards

    def draw(self, rng: random.Random, language: Language) -> Item:
        ask, answer, key = self._decks[language].deal(rng)
        return Item(topic=self.name, language=language, question=ask, answer=answer, key=key)

    def say(self, rng: random.Random, language: Language) -> str:
        return self._decks[language].deal(rng)[1]


class Chat:
    """Small talk; always trained, never scored."""

    name = "chat"

    def __init__(self) -> None:
        self._decks = {
            language: Deck([(ask, row["answer"]) for row in table("chat")[language] for ask in row["ask"]])
            for language in LANGUAGES
        }

    def draw(self, rng: random.Random, language: Language) -> Item:
        ask, answer = self._decks[language].deal(rng)
        return Item(topic=self.name, language=language, question=str(ask), answer=answer, graded=False)

    def say(self, rng: random.Random, language: Language) -> str:
        return self._decks[language].deal(rng)[1]


class Unknown:
    """Questions that it cannot answer, with the one answer that admits it."""

    name = "unknown"

    def draw(self, rng: random.Random, language: Language) -> Item:
        spec, fill = table("unknown"), table("unknown")["fill"]
        person = rng.choice(table("names")[f"people_{language}"])
        if language == "en":
            person += " " + rng.choice(["Smith", "Brown", "Miller", "Stone", "Hill", "Wood", "Green"])
        slots = {
            name.removesuffix(f"_{language}"): rng.choice(words) for name, words in fill.items() if name.endswith(language)
        }
        slots |= {
            "person": person,
            "year": rng.randint(1500, 2090),
            "big": rng.randint(101, 9999),
            "big2": rng.randint(11, 999),
        }
        ask = str(rng.choice(spec[language]["ask"])).format(**slots)
        answer = spec[language]["answer"]
        return Item(
            topic=self.name, language=language, question=ask, answer=answer, key="know" if language == "en" else "不知道"
        )

    def say(self, rng: random.Random, language: Language) -> str:
        return ""
