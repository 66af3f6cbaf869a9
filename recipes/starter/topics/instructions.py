"""Requests that are followed by looking at the request: repeat, count, spell, pick the first, compare two numbers."""

from __future__ import annotations

import random

from .base import Deck, Item, Language, table
from .kinds import join
from .relations import word_rows


class Instructions:
    """Sentences to be repeated are put together from the word table, so they do not repeat themselves."""

    name = "instruction"

    def __init__(self) -> None:
        self._forms = table("instructions")
        rows = word_rows()
        self._words = {language: [row[language].lstrip("*") for row in rows] for language in ("en", "zh")}
        short = [word for word in self._words["en"] if word.isalpha() and len(word) <= 6]
        self._short = Deck(short)

    def draw(self, rng: random.Random, language: Language) -> Item:
        makers = [
            self._repeat,
            self._repeat,
            self._times,
            self._count,
            self._pick,
            self._pick,
            self._compare,
            self._compare,
            self._next,
        ]
        makers += [self._feeling, self._feeling]
        if language == "en":
            makers += [self._upper, self._spell]
        return rng.choice(makers)(rng, language)

    def say(self, rng: random.Random, language: Language) -> str:
        if language == "en" and rng.random() < 0.5:
            word = self._short.deal(rng)
            return f"{word}: {'-'.join(word)}, {word.upper()}"
        start = rng.randint(0, 30)
        return " ".join(str(number) for number in range(start, start + rng.randint(3, 9)))

    def _ask(self, rng: random.Random, name: str, language: Language, **slots: object) -> str:
        return rng.choice(self._forms[name][language]).format(**slots)

    def _item(
        self,
        language: Language,
        question: str,
        answer: str,
        key: str | None = None,
        topic: str = "follow",
        proof: str | None = None,
    ) -> Item:
        return Item(topic=topic, language=language, question=question, answer=answer, key=key or answer, proof=proof)

    def _repeat(self, rng: random.Random, language: Language) -> Item:
        words = rng.choices(self._words[language], k=rng.randint(1, 5))
        text = (" " if language == "en" else "").join(words)
        return self._item(language, self._ask(rng, "repeat", language, text=text), text, topic="repeat")

    def _times(self, rng: random.Random, language: Language) -> Item:
        word, n = rng.choice(self._words[language]), rng.randint(2, 4)
        numbers = {"en": ["two", "three", "four"], "zh": ["两", "三", "四"]}[language]
        answer = (" " if language == "en" else "，").join([word] * n)
        return self._item(language, self._ask(rng, "times", language, word=word, n=numbers[n - 2]), answer)

    def _count(self, rng: random.Random, language: Language) -> Item:
        a = rng.randint(1, 15)
        b = a + rng.randint(2, 8)
        answer = join([str(number) for number in range(a, b + 1)], language)
        return self._item(language, self._ask(rng, "count", language, a=a, b=b), answer, topic="count")

    def _pick(self, rng: random.Random, language: Language) -> Item:
        words = rng.sample(self._words[language], 3)
        which = rng.choice(("first", "last"))
        word = words[0 if which == "first" else -1]
        ask = self._ask(rng, which, language, list=join(words, language))
        place = {"first": ("first", "第一个"), "last": ("last", "最后一个")}[which]
        answer = f"The {place[0]} word is {word}." if language == "en" else f"{place[1]}词是{word}。"
        return self._item(language, ask, answer, word, topic="pick")

    def _compare(self, rng: random.Random, language: Language) -> Item:
        a, b = rng.sample(range(1, 40), 2)
        which = rng.choice(("larger", "smaller"))
        best, rest = (max(a, b), min(a, b)) if which == "larger" else (min(a, b), max(a, b))
        zh = "大" if which == "larger" else "小"
        proof = f"{best} is {which}" if language == "en" else f"{best}比"
        answer = f"{best} is {which} than {rest}." if language == "en" else f"{best}比{rest}{zh}。"
        return self._item(language, self._ask(rng, which, language, a=a, b=b), answer, str(best), topic="larger", proof=proof)

    def _next(self, rng: random.Random, language: Language) -> Item:
        a = rng.randint(0, 40)
        proof = f"{a + 1} comes" if language == "en" else f"是{a + 1}"
        answer = f"{a + 1} comes after {a}." if language == "en" else f"{a}后面是{a + 1}。"
        return self._item(language, self._ask(rng, "next_number", language, a=a), answer, str(a + 1), topic="next", proof=proof)

    def _feeling(self, rng: random.Random, language: Language) -> Item:
        spec = self._forms["feelings"][language]
        side = rng.randrange(2)
        text = rng.choice(spec["good" if side == 0 else "bad"])
        ask = rng.choice(spec["ask"]).format(text=text)
        return self._item(language, ask, spec["labels"][side], spec["keys"][side], topic="feeling")

    def _upper(self, rng: random.Random, language: Language) -> Item:
        word = self._short.deal(rng)
        return self._item(language, self._ask(rng, "upper", language, word=word), word.upper())

    def _spell(self, rng: random.Random, language: Language) -> Item:
        word = self._short.deal(rng)
        return self._item(language, self._ask(rng, "spell", language, word=word), "-".join(word), topic="spell")
