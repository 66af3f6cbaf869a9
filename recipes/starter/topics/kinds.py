"""What kind of thing a word names: what is a tiger, is it a fruit, which one is not a fruit, name three fruits."""

from __future__ import annotations

import random

from .base import Deck, Item, Language, capital, table, with_article
from .relations import word_rows

ASK = {
    "en": ["What kind of thing is {thing}?", "What is {thing}?", "Tell me what {thing} is.", "What sort of thing is {thing}?"],
    "zh": ["{thing}是什么？", "{thing}属于哪一类？", "{thing}是一种什么？", "请问{thing}是什么东西？"],
}
IS_IT = {
    "en": ["Is {thing} {kind}?", "Is it true that {thing} is {kind}?", "{Thing}: is it {kind}?"],
    "zh": ["{thing}是{kind}吗？", "{thing}是不是{kind}？", "请问{thing}是{kind}吗？"],
}


class Kinds:
    """Questions about the kinds of words.yaml that say ask: true."""

    name = "kind"

    def __init__(self) -> None:
        self._kinds = {name: spec for name, spec in table("words").items() if spec["ask"]}
        self._words = {name: [row for row in word_rows() if row["kind"] == name] for name in self._kinds}
        self._deck = Deck([row for rows in self._words.values() for row in rows])
        self._forms = table("instructions")

    def draw(self, rng: random.Random, language: Language) -> Item:
        make = rng.choice([self._what, self._what, self._is_it, self._is_it, self._odd, self._three])
        return make(rng, language)

    def say(self, rng: random.Random, language: Language) -> str:
        return self._what(rng, language).answer

    def _names(self, row: dict[str, str], kind: str, language: Language) -> tuple[str, str]:
        """The word and the kind as they stand in a sentence."""
        if language == "zh":
            return row["zh"], self._kinds[kind]["zh"]
        mass = kind in ("food", "drink") and row["en"].startswith("*")
        return with_article(row["en"]), self._kinds[kind]["en"] if mass else with_article(self._kinds[kind]["en"])

    def _what(self, rng: random.Random, language: Language) -> Item:
        row = self._deck.deal(rng)
        thing, kind = self._names(row, row["kind"], language)
        answer = f"{capital(thing)} is {kind}." if language == "en" else f"{thing}是一种{kind}。"
        ask = rng.choice(ASK[language]).format(thing=thing)
        return Item(topic="kind", language=language, question=ask, answer=answer, key=self._kinds[row["kind"]][language])

    def _is_it(self, rng: random.Random, language: Language) -> Item:
        row = self._deck.deal(rng)
        true = rng.random() < 0.5
        asked = row["kind"] if true else rng.choice([kind for kind in self._kinds if not related(kind, row["kind"])])
        thing, kind = self._names(row, asked, language)
        ask = rng.choice(IS_IT[language]).format(thing=thing, Thing=capital(thing), kind=kind)
        if language == "en":
            answer = f"Yes, {thing} is {kind}." if true else f"No, {thing} is not {kind}."
            key = "Yes" if true else "No"
        else:
            answer = f"是的，{thing}是{kind}。" if true else f"不是，{thing}不是{kind}。"
            key = "是的" if true else "不是"
        return Item(topic="is_it", language=language, question=ask, answer=answer, key=key)

    def _odd(self, rng: random.Random, language: Language) -> Item:
        kind, other = rng.choice([(a, b) for a in self._kinds for b in self._kinds if not related(a, b)])
        wrong = rng.choice(self._words[other])[language].lstrip("*")
        words = [row[language].lstrip("*") for row in rng.sample(self._words[kind], 2)] + [wrong]
        rng.shuffle(words)
        name = with_article(self._kinds[kind]["en"]) if language == "en" else self._kinds[kind]["zh"]
        ask = rng.choice(self._forms["odd"][language]).format(kind=name, list=join(words, language))
        answer = f"{capital(wrong)} is not {name}." if language == "en" else f"{wrong}不是{name}。"
        return Item(topic="odd", language=language, question=ask, answer=answer, key=wrong)

    def _three(self, rng: random.Random, language: Language) -> Item:
        kind = rng.choice([kind for kind in self._kinds if kind in self._forms["kinds_en"]])
        words = [row[language].lstrip("*") for row in self._words[kind][:8]]
        name = {"kinds": self._forms["kinds_en"][kind]} if language == "en" else {"kind": self._kinds[kind]["zh"]}
        answer = join(rng.sample(words, 3), language) + ("." if language == "en" else "。")
        ask = rng.choice(self._forms["three"][language]).format(**name)
        return Item(topic="three", language=language, question=ask, answer=capital(answer), graded=False)


def related(kind: str, other: str) -> bool:
    """Kinds that a child could rightly call the same: a bird is an animal, a fruit is food."""
    groups = ({"animal", "bird", "insect"}, {"fruit", "vegetable", "food", "drink"}, {"body", "animal"})
    return kind == other or any(kind in group and other in group for group in groups)


def join(words: list[str], language: Language) -> str:
    return (", " if language == "en" else "、").join(words)
