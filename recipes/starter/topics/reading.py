"""A small text and a question about it: the answer stands in the text, or the text does not say."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .base import Item, Language, table, with_article
from .relations import word_rows

ADJECTIVES = {
    "en": ["red", "blue", "green", "old", "new", "small", "big", "white"],
    "zh": ["红色的", "蓝色的", "绿色的", "旧的", "新的", "小小的", "大大的", "白色的"],
}
ASK = {"en": "{text}\nQuestion: {question}", "zh": "{text}\n问题：{question}"}
SILENT = {"en": "The text does not say.", "zh": "文中没有说。"}


@dataclass(frozen=True, slots=True)
class Passage:
    """text with its (question, answer, key) triples, and questions that it leaves open."""

    text: str
    answered: list[tuple[str, str, str]]
    open: list[str]


class Reading:
    """Passages about two people and their things, where somebody lives and works, how old somebody is."""

    name = "reading"

    def __init__(self) -> None:
        rows = word_rows()
        self._words = {
            (kind, language): [row[language] for row in rows if row["kind"] == kind]
            for kind in ("thing", "job", "food", "fruit", "place", "animal")
            for language in ("en", "zh")
        }

    def draw(self, rng: random.Random, language: Language) -> Item:
        passage = rng.choice([self._owners, self._life, self._count])(rng, language)
        if rng.random() < 0.12:
            question, answer, key = rng.choice(passage.open), SILENT[language], SILENT[language]
        else:
            question, answer, key = rng.choice(passage.answered)
        form = ASK[language] if rng.random() < 0.5 else ("{text} {question}" if language == "en" else "{text}{question}")
        ask = form.format(text=passage.text, question=question)
        proof = f"= {key}" if f"= {key}" in answer else None
        return Item(topic=self.name, language=language, question=ask, answer=answer, key=key, proof=proof)

    def say(self, rng: random.Random, language: Language) -> str:
        passage = rng.choice([self._owners, self._life, self._count])(rng, language)
        return passage.text + (" " if language == "en" else "") + rng.choice(passage.answered)[1]

    def _people(self, rng: random.Random, language: Language) -> tuple[str, str]:
        first, second = rng.sample(table("names")[f"people_{language}"], 2)
        return first, second

    def _owners(self, rng: random.Random, language: Language) -> Passage:
        who, who2 = self._people(rng, language)
        things = [word for word in self._words["thing", language] if not word.startswith("*")]
        (thing, thing2), (look, look2) = rng.sample(things, 2), rng.sample(ADJECTIVES[language], 2)
        if language == "en":
            mine, yours = with_article(f"{look} {thing}"), with_article(f"{look2} {thing2}")
            return Passage(
                f"{who} has {mine}. {who2} has {yours}.",
                [
                    (f"What does {who} have?", f"{who} has {mine}.", f"{look} {thing}"),
                    (f"What does {who2} have?", f"{who2} has {yours}.", f"{look2} {thing2}"),
                    (f"Who has the {thing}?", f"{who} has the {thing}.", who),
                    (f"Who has the {thing2}?", f"{who2} has the {thing2}.", who2),
                ],
                [f"How old is {who}?", f"Where does {who2} live?"],
            )
        return Passage(
            f"{who}有一个{look}{thing}，{who2}有一个{look2}{thing2}。",
            [
                (f"{who}有什么？", f"{who}有一个{look}{thing}。", f"{look}{thing}"),
                (f"{who2}有什么？", f"{who2}有一个{look2}{thing2}。", f"{look2}{thing2}"),
                (f"谁有{thing}？", f"{who}有{thing}。", who),
                (f"谁有{thing2}？", f"{who2}有{thing2}。", who2),
            ],
            [f"{who}多大了？", f"{who2}住在哪里？"],
        )

    def _life(self, rng: random.Random, language: Language) -> Passage:
        who, who2 = self._people(rng, language)
        city = rng.choice(table("tools")["fill"][f"city_{language}"])
        job, food, age = (
            rng.choice(self._words["job", language]),
            rng.choice(self._words["food", language]),
            rng.randint(18, 60),
        )
        food = food.lstrip("*")
        if language == "en":
            return Passage(
                f"{who} lives in {city} and works as {with_article(job)}. {who} is {age} years old and likes {food}.",
                [
                    (f"Where does {who} live?", f"{who} lives in {city}.", city),
                    (f"What is the job of {who}?", f"{who} works as {with_article(job)}.", job),
                    (f"How old is {who}?", f"{who} is {age} years old.", str(age)),
                    (f"What does {who} like?", f"{who} likes {food}.", food),
                ],
                [f"Where does {who2} live?", f"What is the phone number of {who}?"],
            )
        return Passage(
            f"{who}住在{city}，是一名{job}。{who}今年{age}岁，喜欢吃{food}。",
            [
                (f"{who}住在哪里？", f"{who}住在{city}。", city),
                (f"{who}做什么工作？", f"{who}是一名{job}。", job),
                (f"{who}多大了？", f"{who}今年{age}岁。", str(age)),
                (f"{who}喜欢吃什么？", f"{who}喜欢吃{food}。", food),
            ],
            [f"{who2}住在哪里？", f"{who}的电话是多少？"],
        )

    def _count(self, rng: random.Random, language: Language) -> Passage:
        who, who2 = self._people(rng, language)
        a, b = rng.randint(2, 9), rng.randint(1, 6)
        more = rng.random() < 0.5 or b >= a
        total = a + b if more else a - b
        fruit = rng.choice(self._words["fruit", language])
        sum_text = f"{a} {'+' if more else '-'} {b} = {total}"
        if language == "en":
            fruits = {"strawberry": "strawberries", "cherry": "cherries", "peach": "peaches"}.get(fruit, f"{fruit}s")
            deed = f"gives {who} {b} more" if more else f"takes away {b}"
            ask = f"How many {fruits} does {who} have now?"
            answer = f"{sum_text}. {who} has {total} {fruits}."
            return Passage(f"{who} has {a} {fruits}. {who2} {deed}.", [(ask, answer, str(total))], [f"Where does {who} live?"])
        ask, answer = f"{who}现在有几个{fruit}？", f"{sum_text}。{who}有{total}个{fruit}。"
        deed = f"又给了{b}个" if more else f"拿走了{b}个"
        return Passage(f"{who}有{a}个{fruit}，{who2}{deed}。", [(ask, answer, str(total))], [f"{who}住在哪里？"])
