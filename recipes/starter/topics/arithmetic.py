"""Small sums: addition and subtraction within 20, the multiplication table, some two-digit additions."""

from __future__ import annotations

import random

from .base import Item, Language

ASK = {
    "en": [
        "What is {a} {sign} {b}?",
        "{a} {sign} {b} = ?",
        "{a} {sign} {b}",
        "Calculate {a} {sign} {b}.",
        "What is {a} {word} {b}?",
        "How much is {a} {sign} {b}?",
        "{a} {word} {b} is how much?",
    ],
    "zh": [
        "{a}{word}{b}等于几？",
        "{a} {sign} {b} = ?",
        "{a}{sign}{b}等于多少？",
        "计算 {a} {sign} {b}",
        "{a}{word}{b}是多少？",
        "请问{a}{sign}{b}等于几？",
        "{a}{word}{b}得多少？",
    ],
}
WORDS = {"en": {"+": "plus", "-": "minus", "×": "times"}, "zh": {"+": "加", "-": "减", "×": "乘"}}


class Arithmetic:
    """The answer repeats the sum, so that the numbers stand side by side where the result is due."""

    name = "arithmetic"

    def draw(self, rng: random.Random, language: Language) -> Item:
        a, sign, b, result = draw_sum(rng)
        ask = rng.choice(ASK[language]).format(a=a, b=b, sign=sign, word=WORDS[language][sign])
        end = "." if language == "en" else "。"
        return Item(
            topic="arithmetic",
            language=language,
            question=ask,
            answer=f"{a} {sign} {b} = {result}{end}",
            key=str(result),
            proof=f"= {result}",
        )

    def say(self, rng: random.Random, language: Language) -> str:
        a, sign, b, result = draw_sum(rng)
        if rng.random() < 0.5:
            return f"{a} {sign} {b} = {result}"
        word = WORDS[language][sign]
        return f"{a} {word} {b} is {result}." if language == "en" else f"{a}{word}{b}等于{result}。"


def draw_sum(rng: random.Random) -> tuple[int, str, int, int]:
    """(a, sign, b, result); half of them are sums of single digits."""
    kind = rng.choice(("small", "small", "small", "minus", "minus", "times", "times", "within 20", "tens"))
    if kind == "small":
        a, b = rng.randint(0, 9), rng.randint(0, 9)
        return a, "+", b, a + b
    if kind == "minus":
        b, result = rng.randint(0, 9), rng.randint(0, 9)
        return b + result, "-", b, result
    if kind == "times":
        a, b = rng.randint(0, 9), rng.randint(0, 9)
        return a, "×", b, a * b
    if kind == "within 20":
        a, b = rng.randint(10, 20), rng.randint(1, 9)
        return a, "+", b, a + b
    a, b = rng.randint(1, 9) * 10, rng.randint(1, 9) * 10
    return a, "+", b, a + b
