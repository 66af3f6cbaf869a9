"""Encoding: the same store however many processes make it, made once however many want it, and errors that keep their row."""

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from luthier.config import Config
from luthier.errors import DataError, TemplateError
from luthier.types import Conversation, Encoded, Segment
from luthier.workflows.encode import encode_dataset
from luthier.workflows.encode_group import GroupEncoder, encode_groups

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="several processes are forked")


class Template:
    """Words as their lengths."""

    def describe(self):
        return {"template": "lengths"}


class Tokenizer:
    class backend_tokenizer:
        @staticmethod
        def to_str():
            return "{}"


@dataclass
class Stage:
    """Ids are the lengths of the words; the answer "!" cannot be written, "?" leaves nothing to learn, "+" gives two samples.

    calls: a file that gets one line a call.
    """

    calls: Path | None = None
    name: str = "sft"
    sample: type = Conversation
    seen: list = field(default_factory=list)

    def encode(self, samples, template):
        if self.calls:
            with self.calls.open("a") as file:
                file.write(f"{len(samples)}\n")
        return [self._encode(sample) for sample in samples]

    def _encode(self, sample):
        question, answer = (message.content for message in sample.messages)
        if answer == "!":
            raise TemplateError(f"{sample.origin} cannot be written.", "Remove it.")
        ids = np.array([len(word) for word in f"{question} {answer}".split(" ")], np.int32)
        labels = np.where(np.arange(len(ids)) > 1, ids, -100).astype(np.int32)
        piece = Encoded(segments=(Segment(input_ids=ids, labels=labels),), cut_tokens=len(answer) % 3)
        return [] if answer == "?" else [piece, piece] if answer == "+" else [piece]


@pytest.fixture
def encode(tmp_path):
    """encode(answers, **config keys) -> store."""

    def run(answers, stage=None, **keys):
        rows = [{"instruction": "a bb " + "c" * i, "output": answer} for i, answer in enumerate(answers)]
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        config = Config(dataset=[str(tmp_path / "rows.json")], preprocessing_batch_size=10, **keys)
        return encode_dataset(config, None, stage or Stage(), Template(), Tokenizer())

    return run


ANSWERS = [("x y" if i % 4 else "+") if i % 7 else "?" for i in range(95)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_fork
def test_several_processes_make_the_same_store(encode, tmp_path):
    encode(ANSWERS, tokenized_path=str(tmp_path / "one"))
    encode(ANSWERS, tokenized_path=str(tmp_path / "three"), preprocessing_num_workers=3)
    assert contents(tmp_path / "one" / "train") == contents(tmp_path / "three" / "train")


def test_counts_are_kept_and_told_on_every_start(encode, caplog):
    report = encode(ANSWERS).report
    assert report["samples"] == 95
    assert report["left_out"] == ANSWERS.count("?")
    assert report["stored"] == 95 - ANSWERS.count("?") + ANSWERS.count("+")
    kept = [answer for answer in ANSWERS for _ in range({"?": 0, "+": 2}.get(answer, 1))]
    assert report["tokens"] == sum(3 + len(answer.split(" ")) for answer in kept)
    assert report["cut_samples"] == sum(answer == "+" for answer in ANSWERS)
    caplog.clear()
    encode(ANSWERS)
    assert f"{ANSWERS.count('?')} of 95 samples" in caplog.text
    assert "were cut" in caplog.text


@needs_fork
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_that_cannot_be_written_stops_it_or_is_counted(encode, workers):
    answers = [*ANSWERS[:44], "!", *ANSWERS[44:]]
    with pytest.raises(TemplateError, match="row 45 cannot be written") as caught:
        encode(answers, preprocessing_num_workers=workers)
    assert caught.value.remedy == "Remove it."
    store = encode(answers, preprocessing_num_workers=workers, on_bad_row="skip")
    assert store.report["unrenderable"] == 1
    assert store.report["left_out"] == ANSWERS.count("?")


@needs_fork
def test_reading_stays_a_few_groups_ahead():
    """Memory stays flat only if samples are not read faster than they are encoded."""
    read = 0

    def samples():
        nonlocal read
        while True:
            read += 1
            yield Conversation(messages=())

    class Nothing:
        def encode(self, samples, template):
            return [[] for _ in samples]

    outcomes = encode_groups(GroupEncoder(Nothing(), None, False), samples(), 10, 2)
    for done in range(1, 50):
        next(outcomes)
        assert read <= 10 * (done + 5)


@needs_fork
def test_a_killed_process_is_an_error_that_says_so():
    class Dies:
        def encode(self, samples, template):
            if multiprocessing.parent_process():
                os.kill(os.getpid(), signal.SIGKILL)
            return [[] for _ in samples]

    with pytest.raises(DataError, match="was killed"):
        list(encode_groups(GroupEncoder(Dies(), None, False), [Conversation(messages=())] * 100, 10, 2))


def test_nothing_left_says_why(encode):
    with pytest.raises(DataError, match="nothing is left to learn from: 3 of 3 samples are left out"):
        encode(["?"] * 3)


def test_a_second_start_encodes_nothing_and_a_changed_row_everything(encode, tmp_path):
    calls = tmp_path / "calls"
    encode(ANSWERS, Stage(calls))
    first = calls.read_text()
    encode(ANSWERS, Stage(calls))
    assert calls.read_text() == first
    encode(ANSWERS, Stage(calls), overwrite_cache=True)
    encode([*ANSWERS, "x"], Stage(calls))
    assert len(calls.read_text()) > 2.9 * len(first)


def test_tokenized_path_refuses_other_settings(encode, tmp_path):
    keys = {"tokenized_path": str(tmp_path / "kept")}
    encode(ANSWERS, **keys)
    with pytest.raises(DataError, match="made with other settings: cutoff_len"):
        encode(ANSWERS, cutoff_len=100, **keys)
    assert len(encode(ANSWERS, cutoff_len=100, overwrite_cache=True, **keys))


def _encode_elsewhere(rows, calls, ready, cache):
    os.environ["XDG_CACHE_HOME"] = cache
    ready.wait()
    config = Config(dataset=[rows], preprocessing_batch_size=1000)
    assert len(encode_dataset(config, None, Stage(calls), Template(), Tokenizer())) == 1000


@needs_fork
def test_of_several_processes_one_makes_the_store(tmp_path):
    rows = [{"instruction": "a bb", "output": "x y"}] * 1000
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)
    given = (str(tmp_path / "rows.json"), tmp_path / "calls", ready, str(tmp_path / "cache"))
    processes = [context.Process(target=_encode_elsewhere, args=given) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "calls").read_text() == "1000\n"
