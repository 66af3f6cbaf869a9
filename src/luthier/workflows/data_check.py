"""`luthier data check`: what is in a dataset, what is wrong with it, and what a training would make of it.

Enters: a configuration with dataset (and eval_dataset, model_name_or_path, template). Leaves: a Report of plain values.
Reads everything once and skips bad rows (they are counted); never stops at the first fault and never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.config import Config
from luthier.datasets.check import TextCheck
from luthier.datasets.texts import answer_of, phrases, question_of
from luthier.errors import ConfigError, DataError, TemplateError
from luthier.types import IGNORE_INDEX, Sample, Text, Turn
from luthier.workflows.data import encoder_parts, read_as_it_is

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.templates.base import Template

CUTOFFS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
NO_CUTOFF = 2**30
COMPARED = 100
"""So many first samples are written in the tokenizer's own chat template too, to compare."""
GROUP = 256


@dataclass(slots=True, kw_only=True)
class Report:
    """texts: see TextCheck.report.  lengths: in unit ("tokens" with a model, else "characters").

    truncation: for each cutoff_len how many samples are longer and how many of their tokens do not fit.
    findings: (severity, sentence), severity being "bad" or "note"; what a person should know first.
    """

    datasets: list[str]
    rows: int
    samples: int
    skipped: dict[str, int]
    notes: list[str]
    texts: dict[str, Any]
    unit: str
    lengths: dict[str, float]
    histogram: list[tuple[int, int]]
    truncation: list[dict[str, float]]
    template: dict[str, Any] | None = None
    learned_share: float | None = None
    findings: list[tuple[str, str]] = field(default_factory=list)


def check(config: Config) -> Report:
    """Read config.dataset (and compare eval_dataset with it). Raises DataError where nothing at all can be read."""
    samples, wants = read_as_it_is(config.model_copy(update={"on_bad_row": "skip"}))
    measure = _measure(config, wants)
    texts = TextCheck(measure.control_words)
    for sample in measure.over(samples):
        texts.add(sample)
    if config.eval_dataset:
        for sample in read_as_it_is(config.model_copy(update={"on_bad_row": "skip"}), config.eval_dataset)[0]:
            texts.overlap(sample)
    counts = samples.counts
    report = Report(
        datasets=[one.dataset for one in counts.sets],
        rows=counts.rows,
        samples=counts.kept,
        skipped={reason: count for one in counts.sets for reason, count in one.skipped.items()},
        notes=[*counts.notes, *measure.notes],
        texts=texts.report(),
        unit=measure.unit,
        lengths=_summary(measure.lengths),
        histogram=_histogram(measure.lengths),
        truncation=_truncation(measure.lengths, config.cutoff_len) if measure.unit == "tokens" else [],
        template=measure.template,
        learned_share=measure.learned_share,
    )
    report.findings = list(_findings(report, measure, config))
    return report


class _Characters:
    """Lengths in characters: no model was given."""

    unit = "characters"
    template = None
    learned_share = None
    unwritable: tuple[str, ...] = ()
    num_unwritable = num_unlearned = compared = num_otherwise = 0
    otherwise: str | None = None

    def __init__(self, notes: Iterable[str] = ()):
        self.notes = list(notes)
        self.lengths: list[int] = []
        self.control_words = phrases()["control_words"]

    def over(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same samples, measured on the way."""
        for sample in samples:
            self.lengths.append(len(question_of(sample)) + (0 if isinstance(sample, Text) else len(answer_of(sample))))
            yield sample


class _Tokens:
    """Lengths in tokens as the stage encodes them, nothing cut."""

    unit = "tokens"

    def __init__(self, config: Config, wants: type[Sample]):
        whole = config.model_copy(update={"cutoff_len": NO_CUTOFF, "overflow": "truncate"})
        self.tokenizer, self._template, self._stage = encoder_parts(whole, wants)
        self.template = dict(self._template.describe())
        self.control_words = sorted({str(token) for token in self.tokenizer.added_tokens_decoder.values()})
        self.lengths: list[int] = []
        self.notes: list[str] = []
        self._own = _own_template(self._template, self.tokenizer, config) if wants is not Text else None
        self.compared = self.num_otherwise = 0
        self.otherwise: str | None = None
        self.unwritable: list[str] = []
        self.num_unwritable = self.num_unlearned = self._learned = 0

    @property
    def learned_share(self) -> float:
        return self._learned / max(1, sum(self.lengths))

    def _compare(self, group: Sequence[Sample]) -> None:
        """The first samples in the named template and in the tokenizer's own: how many differ, and where the first does."""
        if self._own is None or self.compared >= COMPARED:
            return
        for sample in group[: COMPARED - self.compared]:
            conversation = getattr(sample, "conversation", None) or getattr(sample, "prompt", None) or sample
            try:
                named, own = (_ids(each.encode(conversation)) for each in (self._template, self._own))
            except TemplateError:
                continue
            self.compared += 1
            at = _first_difference(named, own)
            self.num_otherwise += at is not None
            if at is not None and self.otherwise is None:
                words = [repr(self.tokenizer.decode(ids[at : at + 1])) if at < len(ids) else "the end" for ids in (named, own)]
                self.otherwise = (
                    f"{sample.origin}: token {at + 1} is {words[0]} in {self._template.name}, {words[1]} in its own"
                )

    def over(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same samples, measured on the way."""
        stream = iter(samples)
        while group := list(islice(stream, GROUP)):
            self._measure(group)
            yield from group

    def _measure(self, group: list[Sample]) -> None:
        self._compare(group)
        try:
            encoded = self._stage.encode(group, self._template)
        except (TemplateError, DataError) as error:
            if len(group) > 1:
                for sample in group:
                    self._measure([sample])
                return
            self.num_unwritable += 1
            self.unwritable += [error.message] if len(self.unwritable) < 3 else []
            return
        for pieces in encoded:
            self.num_unlearned += not pieces
            segments = [segment for piece in pieces for segment in piece.segments]
            if segments:
                self.lengths.append(max(segment.num_tokens for segment in segments))
                self._learned += sum(int((segment.labels != IGNORE_INDEX).sum()) for segment in segments)


def _own_template(template: Template, tokenizer: PreTrainedTokenizerBase, config: Config) -> Template | None:
    """The tokenizer's own chat template, where another one was named."""
    from luthier.templates import find_template

    if template.name == "auto" or not tokenizer.chat_template:
        return None
    try:
        return find_template(config.model_copy(update={"template": None, "tool_format": None}), tokenizer)
    except TemplateError:
        return None


def _first_difference(named: list[int], own: list[int]) -> int | None:
    """Where two renderings part; None where they are the same."""
    at = next((k for k, (a, b) in enumerate(zip(named, own)) if a != b), min(len(named), len(own)))
    return None if at == len(named) == len(own) else at


def _ids(turns: Iterable[Turn]) -> list[int]:
    return [token for turn in turns for token in (*turn.prompt, *turn.answer, *turn.tail)]


def _measure(config: Config, wants: type[Sample]) -> _Characters | _Tokens:
    if not config.model_name_or_path:
        return _Characters(["no model was given: lengths are in characters, and no truncation can be forecast (add --model)"])
    try:
        return _Tokens(config, wants)
    except ConfigError as error:  # the stage that learns from such samples
        return _Characters([f"lengths are in characters: {error.message}"])


def _summary(lengths: list[int]) -> dict[str, float]:
    if not lengths:
        return {}
    values = np.array(lengths)
    middle, p90, p99 = np.percentile(values, [50, 90, 99])
    named = {"shortest": values.min(), "mean": values.mean(), "middle": middle, "p90": p90, "p99": p99, "longest": values.max()}
    return {name: round(float(value), 1) for name, value in named.items()} | {"total": int(values.sum())}


def _histogram(lengths: list[int]) -> list[tuple[int, int]]:
    """(upper bound, how many are at most that long and longer than the bound before); bounds double."""
    bound, bins = 16, []
    rest = np.array(lengths)
    while len(rest):
        bins.append((bound, int((rest <= bound).sum())))
        rest = rest[rest > bound]
        bound *= 2
    while len(bins) > 1 and not bins[0][1]:
        bins.pop(0)
    return bins


def _truncation(lengths: list[int], cutoff_len: int) -> list[dict[str, float]]:
    values = np.array(lengths)
    rows = []
    for cutoff in sorted({*CUTOFFS, cutoff_len}):
        over = values[values > cutoff]
        lost = int((over - cutoff).sum())
        rows.append(
            {
                "cutoff_len": cutoff,
                "samples": len(over),
                "samples_share": len(over) / max(1, len(values)),
                "tokens": lost,
                "tokens_share": lost / max(1, int(values.sum())),
            }
        )
        if not len(over) and cutoff >= cutoff_len:
            break
    return rows


FOUND = (
    ("empty_answers", "bad", "answers are empty: they teach the model to say nothing"),
    ("refusals", "note", "answers begin by declining"),
    ("exact_duplicates", "bad", "samples occur again word for word"),
    ("near_duplicates", "note", "samples are nearly the same as an earlier one"),
    ("other_answer", "note", "samples ask the same as an earlier one and answer otherwise"),
    ("control_words", "note", "samples hold words of chat templates; they are learned as plain text"),
    ("eval_same_question", "bad", "samples of eval_dataset ask what the training data asks too"),
    ("eval_near", "bad", "samples of eval_dataset are nearly the same as one of the training data"),
)


def _findings(report: Report, measure: _Characters | _Tokens, config: Config) -> Iterator[tuple[str, str]]:
    """Sentences, what is bad first."""
    if report.skipped:
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in report.skipped.items())
        yield "bad", f"{sum(report.skipped.values()):,} rows cannot be used: {reasons}"
    if measure.num_unwritable:
        yield "bad", f"{measure.num_unwritable:,} samples cannot be written in this template: {measure.unwritable[0]}"
    if measure.num_unlearned:
        yield "bad", f"{measure.num_unlearned:,} samples have nothing to learn"
    if measure.num_otherwise:
        yield (
            "note",
            f"{measure.num_otherwise:,} of the first {measure.compared:,} samples are written otherwise than the tokenizer's "
            f"own chat template would ({measure.otherwise}); template: auto writes them as the model knows them",
        )
    counts, places = report.texts["counts"], report.texts["places"]
    for severity in ("bad", "note"):
        for what, level, words in FOUND:
            if level == severity and counts.get(what):
                yield (
                    level,
                    f"{counts[what]:,} {words} ({'; '.join(places[what])}{' ...' if counts[what] > len(places[what]) else ''})",
                )
    for row in report.truncation:
        if row["cutoff_len"] == config.cutoff_len and row["samples"]:
            yield (
                "bad" if row["samples_share"] > 0.01 else "note",
                f"{row['samples']:,} samples ({row['samples_share']:.1%}) are longer than cutoff_len {config.cutoff_len}: "
                f"{row['tokens_share']:.1%} of all tokens would be cut (overflow: {config.overflow})",
            )
