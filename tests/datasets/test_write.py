"""Every format reads back what it wrote; what it cannot hold is refused."""

import json
import random

import pytest

from luthier.datasets.counts import SetCounts
from luthier.datasets.formats.columns import column_notes
from luthier.datasets.info import parse_entry
from luthier.datasets.one_set import OneSet
from luthier.datasets.write import entry_for, rows_of, write_rows
from luthier.errors import DataError
from luthier.types import Conversation, Message, Text, ToolCall
from tests.datasets.fuzzing import KINDS, damaged
from tests.datasets.test_fuzz import SKIP, Rows, make_entry


def read_back(rows, formatting, wants):
    entry = parse_entry("set", entry_for(formatting, wants, "x.jsonl"), base=".", where="x")
    rows = json.loads(json.dumps(rows))
    return list(OneSet(entry, Rows(rows), SKIP, wants).samples(SetCounts("set")))


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt", "openai"])
def test_damaged_rows_come_back_or_are_refused(formatting):
    rng = random.Random(7)
    written = refused = 0
    for _ in range(1500):
        wants, raw, valid = rng.choice([kind for kind in KINDS if kind[0] is not Text])
        try:
            sample = next(OneSet(make_entry(raw), Rows([damaged(valid, rng)]), SKIP, wants).samples(SetCounts("set")))
            rows = list(rows_of([sample], formatting, wants))
        except DataError as error:
            refused += "without loss" in str(error)
            continue
        written += 1
        (again,) = read_back(rows, formatting, wants)
        entry = parse_entry("set", entry_for(formatting, wants, "x.jsonl"), base=".", where="x")
        notes = column_notes(rows[0], entry, wants)
        assert entry.notes == () and not [note for note in notes if "does not list it" in note]
        texts = [[message.content for message in s.messages] for s in (sample, again)] if wants is Conversation else [0, 0]
        assert texts[0] == texts[1]
    assert written > 200
    assert (formatting == "alpaca") == (refused > 30), "alpaca has no place for tool calls; the others hold nearly all"


def test_openai_keeps_thinking_calls_and_weights():
    call = ToolCall(name="f", arguments={"x": "中"})
    messages = (
        Message(role="system", content="s"),
        Message(role="user", content="a"),
        Message(role="assistant", thinking="hm", tool_calls=(call, call), weight=0.0),
        Message(role="tool", content="1"),
        Message(role="tool", content="2"),
        Message(role="assistant", content="b", weight=2.0),
    )
    tools = ({"name": "f", "description": "d", "parameters": {}},)
    for formatting in ("openai", "sharegpt"):
        rows = list(rows_of([Conversation(messages=messages, tools=tools)], formatting, Conversation))
        (again,) = read_back(rows, formatting, Conversation)
        assert [(m.role, m.content, m.thinking, m.weight) for m in again.messages] == [
            (m.role, m.content, m.thinking, m.weight) for m in messages
        ]
        assert [c.arguments for c in again.messages[2].tool_calls] == [{"x": "中"}] * 2
        assert again.tools == tools
    with pytest.raises(DataError, match="cannot be written as alpaca without loss"):
        list(rows_of([Conversation(messages=messages, tools=tools)], "alpaca", Conversation))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_files(tmp_path, read, name):
    rows = [{"instruction": f'q{i}, "x"\n中', "input": "", "output": "a"} for i in range(3)]
    assert write_rows(tmp_path / name, iter(rows)) == 3
    samples = list(read({"set": {"file_name": name}}))
    assert [sample.messages[0].content for sample in samples] == [row["instruction"] for row in rows]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_half_written(tmp_path):
    def rows():
        yield {"a": "1"}
        raise DataError("broken")

    (tmp_path / "a.jsonl").write_text("old")
    with pytest.raises(DataError, match="broken"):
        write_rows(tmp_path / "a.jsonl", rows())
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "old"
    with pytest.raises(DataError, match="of no kind that can be written"):
        write_rows(tmp_path / "a.doc", rows())
    with pytest.raises(DataError, match="cannot be written"):
        write_rows(tmp_path / "none" / "a.jsonl", iter([{"a": "1"}]))
