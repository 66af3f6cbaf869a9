"""Small stories about an animal or a child, a lost thing and a friend."""

from __future__ import annotations

import random

from .base import Item, Language, capital, table


class Stories:
    """Five lines: beginning, find, trouble, help, end."""

    name = "story"

    def draw(self, rng: random.Random, language: Language) -> Item:
        hero = rng.choice(table("stories")[f"hero_{language}"])
        ask = rng.choice(table("stories")[language]["ask"]).format(hero=hero)
        return Item(topic=self.name, language=language, question=ask, answer=self._tell(rng, language, hero), graded=False)

    def say(self, rng: random.Random, language: Language) -> str:
        return self._tell(rng, language, rng.choice(table("stories")[f"hero_{language}"]))

    def _tell(self, rng: random.Random, language: Language, hero: str) -> str:
        spec = table("stories")
        slots = {name: rng.choice(spec[f"{name}_{language}"]) for name in ("thing", "place", "friend")} | {"hero": hero}
        slots["Friend"] = capital(slots["friend"])
        parts = ("begin", "find", "trouble", "help", "end")
        return (" " if language == "en" else "").join(rng.choice(spec[language][part]).format(**slots) for part in parts)
