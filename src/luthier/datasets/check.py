"""Counts over the texts of a dataset: roles, scripts, empty and declining answers, repeated samples, control words.

Enters: samples, one by one. Leaves: a dict of plain numbers, and the first places where something was found.
Needs no model. Never changes or drops a sample.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from pathlib import PurePath
from statistics import median
from typing import Any

from luthier.datasets.duplicates import ExactDuplicates, NearDuplicates
from luthier.datasets.texts import answer_of, control_words_in, is_refusal, messages_of, question_of, script_of
from luthier.types import Message, Origin, Sample, Text

SHOWN_PLACES = 3
SHARED_BY = 20
"""A line that so many samples hold (a fifth of a small set) is theirs in common and says nothing of one of them."""
LOOK_AHEAD = 500


class TextCheck:
    """control_words: the special tokens of the tokenizer, or those that are common."""

    def __init__(self, control_words: Sequence[str]):
        self.control_words = list(control_words)
        self.counts: Counter[str] = Counter()
        self.roles: Counter[str] = Counter()
        self.scripts: Counter[str] = Counter()
        self.words_found: Counter[str] = Counter()
        self.lines: Counter[int] = Counter()
        self.turns = array("l")
        self.places: defaultdict[str, list[str]] = defaultdict(list)
        self.origins: list[Origin] = []
        self.compared: list[Origin] = []
        self.waiting: deque[tuple[Origin, str]] = deque()
        self.whole, self.questions, self.near = ExactDuplicates(), ExactDuplicates(), NearDuplicates()

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        self.origins.append(sample.origin)
        self.counts["samples"] += 1
        question, answer = question_of(sample), answer_of(sample)
        self.scripts[script_of(f"{question}\n{answer}")] += 1
        self._repetition(sample.origin, question, f"{question}\n{answer}")
        words = control_words_in(f"{question}\n{answer}", self.control_words)
        if words:
            self._found("control_words", sample)
            self.words_found.update(words)
        if not isinstance(sample, Text):
            messages = messages_of(sample)
            self.turns.append(len(messages))
            for message in messages:
                self._message(message, sample)

    def overlap(self, sample: Sample) -> None:
        """Count one sample of an evaluation set against all that was added."""
        self._compare(leave=0)
        self.counts["eval_samples"] += 1
        question = question_of(sample)
        if self.questions.find(question) is not None:
            self._found("eval_same_question", sample)
        elif self.near.find(self._particular(f"{question}\n{answer_of(sample)}")) is not None:
            self._found("eval_near", sample)

    def report(self) -> dict[str, Any]:
        """Plain JSON. Names of what was found are keys of counts; places names the first rows of each."""
        self._compare(leave=0)
        turns = {"fewest": min(self.turns), "middle": median(self.turns), "most": max(self.turns)} if self.turns else None
        return {
            "counts": dict(self.counts),
            "roles": dict(self.roles),
            "turns": turns,
            "scripts": dict(self.scripts.most_common()),
            "control_words": dict(self.words_found.most_common()),
            "near_compared": len(self.near),
            "places": dict(self.places),
        }

    def _repetition(self, origin: Origin, question: str, whole: str) -> None:
        self.lines.update(map(hash, whole.split("\n")))
        asked_before, again = self.questions.add(question), self.whole.add(whole)
        if again is not None:
            self._found_pair("exact_duplicates", origin, self.origins[again])
            return
        if asked_before is not None:
            self._found_pair("other_answer", origin, self.origins[asked_before])
        self.waiting.append((origin, whole))
        self._compare(leave=LOOK_AHEAD)

    def _compare(self, leave: int) -> None:
        """Look for near duplicates of the samples that wait; the last ones wait on, until more is known of shared lines."""
        while len(self.waiting) > leave:
            origin, whole = self.waiting.popleft()
            nearly = self.near.add(self._particular(whole))
            if len(self.near) > len(self.compared):
                self.compared.append(origin)
            if nearly is not None:
                self._found_pair("near_duplicates", origin, self.compared[nearly])

    def _particular(self, text: str) -> str:
        """text without the lines that many samples share: the same instruction does not make two samples alike."""
        shared_by = min(SHARED_BY, max(3, self.counts["samples"] // 5))
        rare = [line for line in text.split("\n") if self.lines[hash(line)] < shared_by]
        return "\n".join(rare) or text

    def _message(self, message: Message, sample: Sample) -> None:
        self.roles[message.role] += 1
        self.counts["own_weight"] += message.weight is not None
        if message.role != "assistant":
            return
        self.counts["answers"] += 1
        self.counts["calls"] += len(message.tool_calls)
        self.counts["thinking"] += bool(message.thinking)
        self.counts["empty_thinking"] += message.thinking == ""
        if not message.content.strip() and not message.tool_calls:
            self._found("empty_answers", sample)
        elif is_refusal(message.content):
            self._found("refusals", sample)

    def _found(self, what: str, sample: Sample) -> None:
        self.counts[what] += 1
        if len(self.places[what]) < SHOWN_PLACES:
            self.places[what].append(_place(sample.origin))

    def _found_pair(self, what: str, one: Origin, other: Origin) -> None:
        self.counts[what] += 1
        if len(self.places[what]) < SHOWN_PLACES:
            self.places[what].append(f"{_place(one)} like {f'row {other.row}' if one.file == other.file else _place(other)}")


def _place(origin: Origin) -> str:
    return f"{PurePath(origin.file).name} row {origin.row}"
