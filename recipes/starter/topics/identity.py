"""Who it is: itself when nobody says otherwise, or the name and author that a system prompt gives it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .base import LANGUAGES, Deck, Item, Language, capital, table

GIVEN_INTENTS = ("who", "name", "maker", "other", "robot")


@dataclass(frozen=True, slots=True)
class Persona:
    """A made-up assistant. system: the prompt that introduces it."""

    name: str
    maker: str
    system: str


class Identity:
    """The last wording of every intent is held out by hand; the others are trained, so that the plain questions always are."""

    name = "identity"

    def __init__(self) -> None:
        self._spec = table("identity")
        self._own: dict[str, Deck] = {}
        self._named: dict[str, Deck] = {}
        self._held: dict[str, list[tuple[str, str]]] = {}
        for language in LANGUAGES:
            rows = self._spec["own"][language]
            self._own[language] = Deck([(ask, row["answer"]) for row in rows for ask in row["ask"][:-1]])
            self._held[language] = [(row["ask"][-1], row["answer"]) for row in rows]
            self._named[language] = Deck(
                [(ask, row["intent"]) for row in rows if row["intent"] in GIVEN_INTENTS for ask in row["ask"][:-1]]
            )

    def draw(self, rng: random.Random, language: Language, persona: Persona | None = None) -> Item:
        if persona is None:
            ask, answer = self._own[language].deal(rng)
        else:
            ask, intent = self._named[language].deal(rng)
            answer = rng.choice(self._spec["given"][language][intent]).format(name=persona.name, maker=persona.maker)
            answer = capital(answer)
        return Item(topic=self.name, language=language, question=ask, answer=answer, graded=False)

    def say(self, rng: random.Random, language: Language) -> str:
        """A sentence about somebody made up: names are copied from one sentence to the next."""
        persona = draw_persona(rng, language)
        who = rng.choice(self._spec["given"][language]["who"] + self._spec["given"][language]["name"])
        return f"{persona.system}{' ' if language == 'en' else ''}{who.format(name=persona.name, maker=persona.maker)}"

    def held_items(self, language: Language) -> list[Item]:
        """The wordings that training never sees, about itself."""
        key = "Luthier"
        rows = self._held[language]
        return [Item(topic="identity", language=language, question=q, answer=a, key=key) for q, a in rows if key in a]

    def plain_system(self, rng: random.Random, language: Language) -> str:
        """A system prompt that names nobody."""
        return rng.choice(self._spec["plain_systems"][language])

    def thinking_system(self, rng: random.Random, language: Language) -> str:
        """A system prompt that asks for thinking."""
        return rng.choice(self._spec["thinking_systems"][language])


def draw_blank_persona(rng: random.Random, language: Language) -> Persona:
    """A persona whose name and maker are blanks to be filled: {{name}}, {{author}} and their like."""
    known = draw_persona(rng, language)
    name, maker = (f"{{{{{rng.choice(table('blanks')[slot])}}}}}" for slot in ("name", "maker"))
    return Persona(name=name, maker=maker, system=known.system.replace(known.name, name).replace(known.maker, maker))


def draw_persona(rng: random.Random, language: Language) -> Persona:
    """A random name and maker in either script, introduced in the given language."""
    pools = table("names")
    english_name = rng.random() < (0.85 if language == "en" else 0.4)
    name = english_brand(rng) if english_name else chinese_brand(rng)
    chance = rng.random()
    if chance < 0.35:
        maker = rng.choice(pools[f"companies_{language}"])
    elif chance < 0.7:
        maker = chinese_person(rng)
    else:
        maker = english_brand(rng) + rng.choice(["", "", " Lab", " AI", " Team"])
    system = rng.choice(table("identity")["systems"][language]).format(name=name, maker=maker)
    return Persona(name, maker, system)


def english_brand(rng: random.Random) -> str:
    """A listed brand word, or one put together from syllables."""
    pools = table("names")
    if rng.random() < 0.3:
        return rng.choice(pools["brands_en"])
    return capital("".join(rng.choices(pools["syllables"], k=rng.randint(1, 3))) + rng.choice(pools["endings"]))


def chinese_brand(rng: random.Random) -> str:
    return rng.choice(table("names")["brands_zh"]) if rng.random() < 0.4 else chinese_given(rng)


def chinese_given(rng: random.Random) -> str:
    return "".join(rng.choices(table("names")["given_zh"], k=2))


def chinese_person(rng: random.Random) -> str:
    return rng.choice(table("names")["surnames_zh"]) + "".join(rng.choices(table("names")["given_zh"], k=rng.randint(1, 2)))
