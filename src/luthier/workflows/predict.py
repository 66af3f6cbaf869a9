"""Every conversation's last answer asked again, written down beside the one in the data, and scored.

    samples -> prompts and labels -> answers as they finish -> generated_predictions.jsonl, predict_results.json

While it works the file holds the rows in the order in which they finished, each with its "index"; at the end it is written
anew in the dataset's order, as LLaMA-Factory has it. A run that was stopped goes on from those rows.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.engines.base import Completion, Sampling
from luthier.engines.runner import context_length
from luthier.errors import ConfigError, DataError, ModelError
from luthier.evals.confusion_plot import confusion_png
from luthier.evals.labels import LabelReport, label_report
from luthier.evals.numbers import number_accuracy
from luthier.evals.page import answers_table, figures_table, label_tables, page
from luthier.evals.text import describe, similarity, text_metrics
from luthier.models.likelihood import likelihoods
from luthier.models.load import load_config_of_model
from luthier.runs import Run, read_rows, shown_path
from luthier.runtime.files import append_line, write_atomic
from luthier.runtime.logging import log_to_file
from luthier.runtime.progress import progress_bars
from luthier.runtime.seeds import set_seed
from luthier.trainer.evaluation import perplexity as exp_loss
from luthier.types import Conversation, Message
from luthier.workflows.answering import Answerer, load_answerer, load_words, sampling_of, scorer_of, settle
from luthier.workflows.folders import output_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.templates.base import Template

log = logging.getLogger(__name__)

DECISIVE = (
    "model_name_or_path", "adapter_name_or_path", "template", "enable_thinking", "default_system", "dataset", "eval_dataset",
    "max_samples", "cutoff_len", "do_sample", "temperature", "top_p", "top_k", "num_beams", "max_new_tokens",
    "repetition_penalty", "length_penalty", "min_p", "presence_penalty", "frequency_penalty", "stop", "seed",
    "skip_special_tokens", "infer_backend", "engine_url", "engine_model",
)  # fmt: skip
"""Keys that must be as they were for rows of a stopped run to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One conversation: the ids that ask for its last answer, and that answer as text and as ids with their end of turn."""

    prompt: list[int]
    label: str
    answer: tuple[int, ...]


def predict(config: Config) -> dict[str, Any]:
    """Answer config.eval_dataset (else config.dataset); returns the figures of predict_results.json, {} where it was stopped.

    Raises LuthierError for whatever the user can mend, before the model is loaded where it can be known by then.
    """
    from luthier.trainer.signals import StopSignals

    config = settle(config)
    config = config.model_copy(update={"output_dir": output_folder(config, "predict")})
    run = Run.create(config, kind="predict")
    known = kept_rows(run, config)
    with run, log_to_file(run.log_file):
        set_seed(config.seed)
        tokenizer, template = load_words(config)
        longest = context_length(load_config_of_model(config))
        questions = make_questions(config, read_conversations(config), tokenizer, template, longest)
        answerer = load_answerer(config, tokenizer, template, keep_adapter=False)
        run.start()
        log.info("answering %d prompts with %s", len(questions), answerer.describes)
        log.info("the answers go to %s", shown_path(run.predictions_file))
        began = time.monotonic()
        with StopSignals() as signals:
            rows, tokens = answer_all(run, config, answerer, questions, known, lambda: signals.asked() or run.stop_requested())
        if len(rows) < len(questions):
            run.update_status(state="stopped", reason=run.stop_reason() or "interrupted")
            log.warning(
                "stopped: %d of %d prompts are answered. The same command goes on from there.", len(rows), len(questions)
            )
            return {}
        write_in_order(run, rows)
        seconds = time.monotonic() - began
        surprise = perplexity(answerer, questions, longest)
        return finish(run, rows, seconds, len(rows) - len(known), tokens, surprise)


def read_conversations(config: Config) -> list[Conversation]:
    """All conversations of eval_dataset, else of dataset."""
    samples = read_samples(config, config.eval_dataset or config.dataset, wants=Conversation)
    conversations = list(samples)
    if samples.counts.skipped or samples.counts.notes:
        log.warning("%s", "\n".join([str(samples.counts), *samples.counts.notes]))
    return conversations


def make_questions(
    config: Config,
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    longest: int | None = None,
) -> list[Question]:
    """Prompt and label of each. A prompt that is too long is shortened before its generation header (overflow), and counted.

    longest: tokens of the model's context, of which one at least is left for the answer.
    """
    room = min(config.cutoff_len, (longest or config.cutoff_len + 1) - 1)
    header = _common_ending(template.encode_prompt(_asking("7")), template.encode_prompt(_asking("x")))
    questions, too_long = [], 0
    for conversation, turns in zip(conversations, template.encode_batch(conversations), strict=True):
        prompt = template.encode_prompt(replace(conversation, messages=conversation.messages[:-1]))
        if len(prompt) > room:
            too_long += 1
            if config.overflow == "error":
                raise DataError(
                    f"{conversation.origin} is a prompt of {len(prompt):,} tokens, more than {room:,}.", "Raise cutoff_len."
                )
            if config.overflow == "drop":
                continue
            prompt = prompt[: room - header] + prompt[len(prompt) - header :]
        label = tokenizer.decode(list(turns[-1].answer), skip_special_tokens=config.skip_special_tokens)
        questions.append(Question(prompt=prompt, label=label, answer=turns[-1].answer))
    if too_long:
        done = "left out" if config.overflow == "drop" else "cut"
        log.warning("%d of %d prompts were longer than %d tokens and were %s.", too_long, len(conversations), room, done)
    if not questions:
        raise DataError(
            f"all {too_long} prompts are longer than {room} tokens.", "Raise cutoff_len, or set overflow: truncate."
        )
    return questions


def answer_all(
    run: Run,
    config: Config,
    answerer: Answerer,
    questions: Sequence[Question],
    known: Mapping[int, Mapping[str, str]],
    stop_asked: Any,
) -> tuple[dict[int, dict[str, str]], int]:
    """(rows by index of all questions that have an answer, tokens generated); each new row is written as it comes."""
    tokenizer = answerer.tokenizer
    shown = [tokenizer.decode(question.prompt, skip_special_tokens=False) for question in questions]
    rows = {i: dict(row) for i, row in known.items() if i < len(shown) and row["prompt"] == shown[i]}
    write_atomic(run.predictions_file, b"".join(_line({"index": i, **row}) + b"\n" for i, row in rows.items()))
    left = [index for index in range(len(questions)) if index not in rows]
    tokens, began = 0, time.monotonic()
    with progress_bars(config.disable_tqdm or False) as bars:
        bar = bars.add("predict", len(questions), done=len(rows))
        for completion in answers_of(config, answerer, [questions[index].prompt for index in left], left, stop_asked):
            index = left[completion.index]
            text = tokenizer.decode(list(completion.ids), skip_special_tokens=config.skip_special_tokens)
            rows[index] = {"prompt": shown[index], "predict": text, "label": questions[index].label}
            append_line(run.predictions_file, _line({"index": index, **rows[index]}))
            tokens += len(completion.ids)
            bar.update(len(rows), f"{tokens / (time.monotonic() - began):.0f} tokens/s")
        bar.close()
    return rows, tokens


def answers_of(
    config: Config, answerer: Answerer, prompts: Sequence[Sequence[int]], numbers: Sequence[int], stop_asked: Any
) -> Iterator[Completion]:
    """Completions until there are no more or stop_asked(). Each row has a seed of its own, so that stopping and going on, or
    another batch, changes no answer."""
    sampling = sampling_of(config)
    samplings: Sampling | list[Sampling] = sampling
    if not sampling.greedy and sampling.num_beams == 1:
        samplings = [replace(sampling, seed=config.seed * 1_000_003 + number) for number in numbers]
    completions = answerer.engine.generate(prompts, samplings)
    try:
        for completion in completions:
            yield completion
            if stop_asked():
                return
    finally:
        completions.close()  # type: ignore[attr-defined]


def perplexity(answerer: Answerer, questions: Sequence[Question], longest: int | None) -> float | None:
    """exp of the mean negative log-likelihood of a token of the references; None where the model does not tell.

    A reference is cut where the model's context ends.
    """
    if answerer.net is None:
        return None
    room = (longest or sys.maxsize) + 1  # the last token is told, not read
    pairs = [(question.prompt, question.answer[: room - len(question.prompt)]) for question in questions]
    try:
        found = [each for _, each in likelihoods(scorer_of(answerer), [pair for pair in pairs if pair[1]])]
    except ModelError as error:  # the answers are there; this figure is not worth losing them
        log.warning("no perplexity: %s", error)
        return None
    tokens = sum(each.tokens for each in found)
    return exp_loss(-sum(each.logp for each in found) / tokens) if tokens else None


def kept_rows(run: Run, config: Config) -> dict[int, dict[str, str]]:
    """Rows of a run of the same questions that was stopped in this folder; {} where there is none, or it is overwritten."""
    wish = str(config.resume_from_checkpoint or "").lower()
    if config.overwrite_output_dir or wish == "false" or not run.predictions_file.is_file() or not run.config_file.is_file():
        return {}
    rows = {row.pop("index"): row for row in read_rows(run.predictions_file) if "index" in row}
    before, now = run.saved_config(), config.to_dict()
    changed = [key for key in DECISIVE if before.get(key) != now.get(key)]
    if rows and changed:
        raise ConfigError(
            f"{shown_path(run.folder)} holds {len(rows)} answers of a run with another {', '.join(changed)}.",
            "Choose another output_dir, or start over: overwrite_output_dir=true.",
        )
    return rows


def write_in_order(run: Run, rows: Mapping[int, Mapping[str, str]]) -> None:
    """The file as LLaMA-Factory writes it: the dataset's order, {"prompt", "predict", "label"}."""
    write_atomic(run.predictions_file, b"".join(_line(rows[index]) + b"\n" for index in sorted(rows)))


def finish(
    run: Run,
    rows: Mapping[int, Mapping[str, str]],
    seconds: float,
    answered: int,
    tokens: int,
    surprise: float | None = None,
) -> dict[str, Any]:
    """Score the rows, write the results, say them. surprise: perplexity of the references."""
    ordered = [rows[index] for index in sorted(rows)]
    answers, wanted = [row["predict"] for row in ordered], [row["label"] for row in ordered]
    pairs = [similarity(answer, label) for answer, label in zip(answers, wanted)]
    scores = text_metrics(answers, wanted, pairs)
    labels = label_report(answers, wanted)
    if labels is not None:
        scores |= {"accuracy": round(labels.accuracy, 4), "macro_f1": round(labels.macro_f1, 4)}
    if (right := number_accuracy(answers, wanted)) is not None:
        scores["number_accuracy"] = round(right, 4)
    if surprise is not None:
        scores["perplexity"] = round(surprise, 4)
    metrics: dict[str, Any] = {f"predict_{name}": score for name, score in scores.items()}
    metrics |= {
        "predict_samples": len(ordered),
        "predict_runtime": round(seconds, 4),
        "predict_samples_per_second": round(answered / seconds, 3),
        "predict_tokens_per_second": round(tokens / seconds, 3),
    }
    run.write_results("predict", metrics)
    write_report(run, ordered, pairs, metrics, labels)
    run.update_status(state="finished")
    log.info("%s", describe(scores))
    log.info("%d answers in %.1f s; %s shows the worst first", len(ordered), seconds, shown_path(run.report_page))
    return metrics


def write_report(
    run: Run,
    rows: Sequence[Mapping[str, str]],
    pairs: Sequence[Mapping[str, float]],
    metrics: Mapping[str, Any],
    labels: LabelReport | None,
) -> None:
    """report.html: the figures, and the rows with the least rouge-l first; for labels their scores and confusion matrix too."""
    scored = [{**row, "index": i, "score": pair["rouge-l"]} for i, (row, pair) in enumerate(zip(rows, pairs))]
    wrong = [row["predict"].strip() != row["label"].strip() for row in rows]
    worst = sorted(scored, key=lambda row: (not wrong[row["index"]], row["score"]))
    parts = [figures_table({name.removeprefix("predict_"): value for name, value in metrics.items()})]
    if labels is not None:
        parts.append(label_tables(labels))
        write_atomic(run.label_report, json.dumps(labels.to_dict(), ensure_ascii=False, indent=1) + "\n")
        write_atomic(run.confusion_plot, confusion_png(labels))
    parts.append(answers_table(worst, ["predict"], len(rows)))
    write_atomic(run.report_page, page(f"Predictions: {run.folder.name}", *parts))


def _asking(word: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=word),))


def _common_ending(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[-1 - count] == b[-1 - count]:
        count += 1
    return count


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()
