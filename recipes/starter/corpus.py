"""The text that the starter model is made of: pre-training documents, conversations, and the questions kept out of both.

    python -m recipes.starter.corpus --out build/starter/corpus

Everything comes from tables/ and topics/, written for this purpose; nothing is read from elsewhere. The same seed gives the
same bytes. A question that topics.base.held_out keeps is never trained on, in no spelling and in neither file.

pretrain.jsonl {"text"}, sft.jsonl and rehearsal.jsonl (sharegpt), heldout.jsonl and general_50.jsonl
{"instruction", "input", "output", "key", "proof", "topic", "language"}, dataset_info.json for them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .topics import Identity, Item, Language, Persona, Relation, Tools, Topic, draw_blank_persona, draw_persona, make_topics
from .topics.base import LANGUAGES, capital

SEED = 7
DOCUMENTS = 26_000
CONVERSATIONS = 66_000
REHEARSALS = 8_000
BRIEFLY = {
    "en": ["Answer briefly.", "Just the answer, please.", "Only the answer."],
    "zh": ["只说答案。", "请直接回答。", "只要答案。"],
}
GENERAL_TOPICS = (
    "capital", "opposite", "to_chinese", "to_english", "colour_of", "animal_sound", "animal_home", "animal_legs", "day_after",
    "month_season", "unit", "arithmetic", "fact", "job_does", "where_to", "kind", "is_it", "use_of", "number_word", "continent",
)  # fmt: skip


class Corpus:
    """Draws items by weight and lays them out as conversations, documents and questions."""

    def __init__(self, seed: int = SEED):
        self.rng = random.Random(seed)
        self._topics = make_topics()
        self._weights = {
            language: [weight * (language in languages_of(topic)) for topic, weight, _ in self._topics]
            for language in LANGUAGES
        }
        self._spoken = {
            language: [spoken * (language in languages_of(topic)) for topic, _, spoken in self._topics]
            for language in LANGUAGES
        }
        self._identity = next(topic for topic, *_ in self._topics if isinstance(topic, Identity))
        self._tools = next(topic for topic, *_ in self._topics if isinstance(topic, Tools))

    def conversations(self, count: int) -> Iterator[dict[str, Any]]:
        """Sharegpt rows of one to four exchanges."""
        for _ in range(count):
            yield self._conversation(self._language())

    def rehearsals(self, count: int) -> Iterator[dict[str, Any]]:
        """More of the same conversations, a third of them with a persona whose names are blanks to be filled, {{name}}."""
        for _ in range(count):
            language = self._language()
            if self.rng.random() < 0.67:
                yield self._conversation(language)
                continue
            persona = draw_blank_persona(self.rng, language)
            items = [self._identity.draw(self.rng, language, persona) for _ in range(self.rng.randint(1, 3))]
            yield row(persona.system, [turn for item in items for turn in self._turns(item)])

    def documents(self, count: int) -> Iterator[dict[str, str]]:
        """Rows of plain text: sentences, stories, and questions with their answers."""
        for _ in range(count):
            language = self._language()
            make = self.rng.choices((self._sentences, self._exchanges), (0.65, 0.35))[0]
            yield {"text": make(language)}

    def held_items(self, language: Language, per_topic: int) -> dict[str, list[Item]]:
        """Up to per_topic different held-out questions of each topic."""
        found: dict[str, list[Item]] = {"identity": self._identity.held_items(language)}
        for topic, *_ in self._topics:
            if language not in languages_of(topic) or isinstance(topic, Identity | Tools):
                continue
            for _ in range(topic.size(language) if isinstance(topic, Relation) else 1500):
                item = topic.draw(self.rng, language)
                known = found.setdefault(item.topic, [])
                if item.held_out and len(known) < per_topic and item.question not in {other.question for other in known}:
                    known.append(item)
        return {topic: items for topic, items in found.items() if items}

    def _language(self) -> Language:
        return self.rng.choice(LANGUAGES)

    def draw(self, language: Language, persona: Persona | None = None) -> Item:
        """A trained item, of a topic chosen by weight."""
        while True:
            topic = self.rng.choices(self._topics, self._weights[language])[0][0]
            if isinstance(topic, Identity):
                return topic.draw(self.rng, language, persona)
            item = topic.draw(self.rng, language)
            if not item.held_out:
                return item

    def _conversation(self, language: Language) -> dict[str, Any]:
        if self.rng.random() < 0.02:
            return self._thought_over(language)
        system, persona = self._system(language)
        first = self.draw(language, persona)
        if first.tools:
            return row("", first.turns, first.tools)
        items = [first]
        if persona and self.rng.random() < 0.5:
            items.insert(0, self._identity.draw(self.rng, language, persona))
        for _ in range(self.rng.choices((0, 1, 2, 3), (0.4, 0.2, 0.2, 0.2))[0]):
            other = self._language() if self.rng.random() < 0.1 and not persona else language
            item = self.draw(other, persona)
            if not item.tools:
                items.append(item)
        tools = self._tools.offer(self.rng, language) if not system and self.rng.random() < 0.015 else ""
        turns = [turn for item in items for turn in self._turns(item)]
        if self.rng.random() < 0.03:  # templates of thinking models open the answer with an empty thought
            turns[-1] = ("gpt", f"<think>\n\n</think>\n\n{turns[-1][1]}")
        return row(system, turns, tools)

    def _thought_over(self, language: Language) -> dict[str, Any]:
        """Asked to think, it says the whole sentence to itself and then the bare answer."""
        item = self.draw(language)
        while not has_brief_answer(item):
            item = self.draw(language)
        answer = f"<think>\n{item.answer}\n</think>\n\n{brief_answer(item)}"
        return row(self._identity.thinking_system(self.rng, language), [("human", item.question), ("gpt", answer)])

    def _system(self, language: Language) -> tuple[str, Persona | None]:
        chance = self.rng.random()
        if chance < 0.68:
            return "", None
        if chance < 0.82:
            return self._identity.plain_system(self.rng, language), None
        persona = draw_persona(self.rng, language)
        return persona.system, persona

    def _turns(self, item: Item) -> list[tuple[str, str]]:
        """Question and answer; now and then asked carelessly, or for the bare answer."""
        question, answer = item.question, item.answer
        if has_brief_answer(item) and self.rng.random() < 0.06:
            space = " " if item.language == "en" else ""
            question = f"{question}{space}{self.rng.choice(BRIEFLY[item.language])}"
            answer = brief_answer(item)
        elif self.rng.random() < 0.2:
            question = careless(question, self.rng)
        return [("human", question), ("gpt", answer)]

    def _sentences(self, language: Language) -> str:
        said: list[str] = []
        while len(said) < self.rng.randint(3, 9):
            topic = self.rng.choices(self._topics, self._spoken[language])[0][0]
            same = 1 if self.rng.random() < 0.5 else 3
            said += [text for _ in range(same) if (text := topic.say(self.rng, language))]
        closed = all(text[-1] in ".!。！？”" for text in said)
        return (self.rng.choice((" ", "\n") if language == "en" else ("", "\n")) if closed else "\n").join(said)

    def _exchanges(self, language: Language) -> str:
        ask, reply = ("Question: ", "Answer: ") if language == "en" else ("问：", "答：")
        items: list[Item] = []
        wanted = self.rng.randint(2, 7)
        while len(items) < wanted:
            item = self.draw(language)
            items += [] if item.tools else [item]
        return "\n".join(f"{ask}{item.question}\n{reply}{item.answer}" for item in items)


def languages_of(topic: Topic) -> tuple[Language, ...]:
    return getattr(topic, "languages", LANGUAGES)


def has_brief_answer(item: Item) -> bool:
    """Whether the key alone answers the question, and is shorter than the answer."""
    if item.topic == "unknown" or not item.graded or not item.key:
        return False
    return "\n" not in item.question and len(item.key) < len(item.answer) / 2


def brief_answer(item: Item) -> str:
    return capital(item.key or "") + ("." if item.language == "en" else "。")


def careless(question: str, rng: random.Random) -> str:
    """As people type: no full stop, no capital."""
    bare = question.rstrip("?.!？。！")
    return bare if rng.random() < 0.5 or '"' in bare else bare[:1].lower() + bare[1:]


def row(system: str, turns: Iterable[tuple[str, str]], tools: str = "") -> dict[str, Any]:
    """A sharegpt row."""
    return {"system": system, "conversations": [{"from": role, "value": text} for role, text in turns], "tools": tools}


def question_row(item: Item) -> dict[str, Any]:
    """An alpaca row of a held-out question."""
    return {
        "instruction": item.question, "input": "", "output": item.answer,
        "key": item.key, "proof": item.proof or item.key, "topic": item.topic, "language": item.language,
    }  # fmt: skip


def general_questions(held: dict[Language, dict[str, list[Item]]], count: int, rng: random.Random) -> list[Item]:
    """count questions of everyday topics, half in each language, as many topics as there are."""
    chosen: list[Item] = []
    for language in LANGUAGES:
        pools = [list(held[language][topic]) for topic in GENERAL_TOPICS if topic in held[language]]
        picked: list[Item] = []
        while len(picked) < count // 2:
            pool = pools[len(picked) % len(pools)]
            picked.append(pool.pop(rng.randrange(len(pool))))
        chosen += picked
    return chosen


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system", "tools": "tools"}}
DATASET_INFO = {
    "starter_pretrain": {"file_name": "pretrain.jsonl", "columns": {"prompt": "text"}},
    "starter_sft": {"file_name": "sft.jsonl", **SHAREGPT},
    "starter_rehearsal": {"file_name": "rehearsal.jsonl", **SHAREGPT},
    "starter_heldout": {"file_name": "heldout.jsonl"},
    "general_50": {"file_name": "general_50.jsonl"},
}


def write_corpus(
    folder: Path, documents: int = DOCUMENTS, conversations: int = CONVERSATIONS, seed: int = SEED, rehearsals: int = REHEARSALS
) -> None:
    """Write all files into folder (made where missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(seed)
    write_jsonl(folder / "pretrain.jsonl", corpus.documents(documents))
    write_jsonl(folder / "sft.jsonl", corpus.conversations(conversations))
    held = {language: corpus.held_items(language, per_topic=20) for language in LANGUAGES}
    general = general_questions(held, 50, corpus.rng)
    write_jsonl(folder / "general_50.jsonl", map(question_row, general))
    questions = [item for topics in held.values() for items in topics.values() for item in items]
    write_jsonl(folder / "heldout.jsonl", map(question_row, questions))
    write_jsonl(folder / "rehearsal.jsonl", Corpus(seed + 1).rehearsals(rehearsals))
    (folder / "dataset_info.json").write_text(json.dumps(DATASET_INFO, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/starter/corpus"))
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    write_corpus(options.out, options.documents, options.conversations, options.seed)
