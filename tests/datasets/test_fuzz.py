"""Damaged rows, entries and files give a sample or a DataError with file and row: nothing else, and no silent loss."""

import copy
import gzip
import json
import random
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.config import Config
from luthier.datasets.counts import SetCounts
from luthier.datasets.info import parse_entry
from luthier.datasets.one_set import OneSet
from luthier.datasets.read import read_samples
from luthier.errors import DataError
from luthier.types import Conversation, Preference, Prompt, Rated, Text
from tests.datasets.fuzzing import KINDS, ODD, check_sample, damaged

SKIP = Config(on_bad_row="skip")
STOP = Config()


class Rows:
    """A source of rows that lie in memory."""

    def __init__(self, rows):
        self.given = rows

    def rows(self):
        return (("rows.jsonl", number, row) for number, row in enumerate(self.given, start=1))

    def fingerprint(self):
        return ""


def make_entry(raw):
    return parse_entry("set", {"file_name": "rows.jsonl", **raw}, base=".", where="dataset_info.json")


def fuzz_rows(times, seed):
    rng = random.Random(seed)
    kept = 0
    for _ in range(times // 100):
        wants, raw, valid = rng.choice(KINDS)
        entry = make_entry(raw)
        rows = [damaged(valid, rng) if rng.random() < 0.9 else valid for _ in range(99)] + [valid]
        counts = SetCounts("set")
        samples = list(OneSet(entry, Rows(rows), SKIP, wants).samples(counts))
        for sample in samples:
            check_sample(sample, wants)
        assert len(samples) == counts.kept
        assert counts.rows == 100 == counts.kept + counts.skipped.total()
        if counts.skipped:
            with pytest.raises(DataError, match=r"rows\.jsonl row \d+ \S"):
                list(OneSet(entry, Rows(rows), STOP, wants).samples(SetCounts("set")))
        kept += counts.kept
    assert times * 0.2 < kept < times * 0.9, "the damage must neither miss nor break everything"


def fuzz_entries(times, seed):
    rng = random.Random(seed)
    bases = [
        {"file_name": "a.json", "columns": {"prompt": "p", "kto_tag": "k"}, "num_samples": 3, "subset": "s", "folder": "f"},
        {"file_name": "a.json", "formatting": "sharegpt", "ranking": True, "tags": {"role_tag": "r"}, "columns": {}},
        {"hf_hub_url": "a/b", "ms_hub_url": "c/d", "formatting": "openai", "encoding": "gbk", "revision": "main"},
    ]  # fmt: skip
    good = 0
    for _ in range(times):
        raw = damaged(rng.choice(bases), rng)
        try:
            entry = parse_entry("set", raw, base=".", where="dataset_info.json")
        except DataError as error:
            assert str(error).startswith('dataset_info.json: dataset "set"')
            continue
        good += 1
        wants = rng.choice((Conversation, Preference, Rated, Prompt, Text))
        rows = [damaged(rng.choice(KINDS)[2], rng) for _ in range(3)]
        counts = SetCounts("set")
        try:
            samples = list(OneSet(entry, Rows(rows), SKIP, wants).samples(counts))
        except DataError:
            continue
        assert len(samples) + counts.skipped.total() >= min(3, entry.num_samples or 3)
    assert good > times * 0.1


def fuzz_files(times, seed, folder):
    """Bytes of whole files changed, cut or doubled."""
    rng = random.Random(seed)
    rows = [{"instruction": f"q{i} 中文\n", "input": "", "output": 'a, "b"' * i} for i in range(20)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    pq.write_table(pa.Table.from_pylist(rows), folder / "x.parquet")
    table = "instruction,input,output\n" + "".join(f'"q{i}",,"a ""{i}"""\n' for i in range(20))
    originals = {
        "a.jsonl": lines,
        "a.json": json.dumps(rows, ensure_ascii=False, indent=1).encode(),
        "a.csv": table.encode(),
        "a.jsonl.gz": gzip.compress(lines),
        "a.parquet": (folder / "x.parquet").read_bytes(),
        "dataset_info.json": json.dumps({"a.jsonl": {"file_name": "b.jsonl"}}).encode(),
    }
    (folder / "b.jsonl").write_bytes(lines)
    for _ in range(times):
        name = rng.choice(list(originals))
        data = bytearray(originals[name])
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(len(data) + 1)
            action = rng.random()
            if action < 0.5:
                data[at : at + 1] = bytes([rng.randrange(256)])
            elif action < 0.75:
                del data[at : at + rng.choice((1, 5, 5000))]
            else:
                data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.choice((1, 20, 500))]
            data = data or bytearray(b" ")
        (folder / name).write_bytes(data)
        dataset = "a.jsonl" if name == "dataset_info.json" else name
        try:
            samples = read_samples(Config(dataset=[dataset], dataset_dir=str(folder), on_bad_row="skip"), wants=Conversation)
            kept = list(samples)
        except DataError as error:
            assert re.search(r"a\.|dataset", str(error))
        else:
            assert samples.counts.rows == len(kept) + samples.counts.skipped
            for sample in kept:
                check_sample(sample, Conversation)
        (folder / name).write_bytes(originals[name])


def test_rows():
    fuzz_rows(6000, seed=1)


def test_entries():
    fuzz_entries(3000, seed=2)


def test_files(tmp_path):
    fuzz_files(300, seed=3, folder=tmp_path)


@pytest.mark.slow
def test_a_hundred_thousand(tmp_path):
    for seed in range(10):
        fuzz_rows(8000, seed=100 + seed)
    fuzz_entries(15_000, seed=4)
    fuzz_files(5_000, seed=5, folder=tmp_path)


json_values = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_any_json_in_any_column(kind, data):
    wants, raw, valid = kind
    row = copy.deepcopy(valid)
    row[data.draw(st.sampled_from(list(row)))] = data.draw(json_values)
    try:
        for sample in OneSet(make_entry(raw), Rows([row]), STOP, wants).samples(SetCounts("set")):
            check_sample(sample, wants)
    except DataError as error:
        assert "rows.jsonl row 1 " in str(error)
