import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.datasets.guess import guess_shape
from luthier.errors import DataError
from luthier.types import Conversation, Preference, Text

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


ALPACA = {"prompt": None, "query": None, "response": None}
SHAPES = [
    (
        {"instruction": "a", "input": "", "output": "b"},
        {"formatting": "alpaca", "columns": {"prompt": "instruction", "query": "input", "response": "output"}},
    ),
    (
        {"question": "a", "answer": "b", "system": "s"},
        {"formatting": "alpaca", "columns": ALPACA | {"prompt": "question", "response": "answer", "system": "system"}},
    ),
    ({"input": "a", "target": "b"}, {"formatting": "alpaca", "columns": ALPACA | {"prompt": "input", "response": "target"}}),
    (
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {
            "formatting": "alpaca",
            "ranking": True,
            "columns": ALPACA | {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        },
    ),
    ({"messages": TURNS, "tools": []}, {"formatting": "openai", "columns": {"messages": "messages", "tools": "tools"}}),
    (
        {"dialog": [{"from": "user", "value": "a"}, {"from": "bot", "value": "b"}]},
        {
            "formatting": "sharegpt",
            "tags": {"user_tag": "user", "assistant_tag": "bot"},
            "columns": {"messages": "dialog"},
        },
    ),
    ({"messages": TURNS, "label": True}, {"formatting": "openai", "columns": {"messages": "messages", "kto_tag": "label"}}),
    ({"text": "a"}, {"formatting": "text", "columns": {"prompt": "text"}}),
    ({"url": "x", "raw_content": "a"}, {"formatting": "text", "columns": {"prompt": "raw_content"}}),
    (
        {"chosen": TURNS, "rejected": TURNS},
        {"formatting": "openai", "ranking": True, "columns": {"chosen": "chosen", "rejected": "rejected"}},
    ),
]


@pytest.mark.parametrize(("row", "shape"), SHAPES)
def test_shapes(row, shape):
    assert guess_shape([row], "rows") == shape


def test_keys_that_mean_nothing():
    with pytest.raises(DataError, match=r"rows: cannot tell what its rows mean \(keys: a, b\)"):
        guess_shape([{"a": 1, "b": 2}], "rows")
    with pytest.raises(DataError, match="is empty: it has no row"):
        guess_shape([], "rows")


def test_what_was_guessed_is_noted(write):
    path = write("a.jsonl", [{"question": "a", "answer": "b"}])
    samples = read_samples(Config(dataset=[str(path)]), wants=Conversation)
    list(samples)
    assert any("read as alpaca: prompt=question, response=answer" in note for note in samples.counts.notes)


def test_whole_conversations_in_a_preference_set(write):
    path = write("a.jsonl", [{"prompt": "a", "chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "c"}]}])
    sample = next(iter(read_samples(Config(dataset=[str(path)]), wants=Preference)))
    assert (sample.prompt.messages[0].content, sample.chosen.content, sample.rejected.content) == ("a", "b", "c")


def test_a_folder_with_its_own_dataset_info(tmp_path, write):
    write("out/train.jsonl", [{"instruction": "a", "output": "b"}])
    write("out/dataset_info.json", {})
    with pytest.raises(DataError, match=r"own dataset_info.json.\n  Set dataset_dir"):
        read_samples(Config(dataset=[str(tmp_path / "out")]), wants=Conversation)


@pytest.mark.parametrize("content", ["", "[]", "{", "[1, 2]", '{"a": 1}', "\x00\x01\x02" * 50])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.parquet"])
def test_files_with_nothing_to_guess_from(write, name, content):
    path = write(name, content)
    with pytest.raises(DataError, match=name):
        list(read_samples(Config(dataset=[str(path)]), wants=Conversation))


def test_text_for_a_stage_that_learns_conversations(write):
    path = write("a.txt", "once upon a time\n")
    assert [text.text for text in read_samples(Config(dataset=[str(path)]), wants=Text)] == ["once upon a time"]
    with pytest.raises(DataError, match="holds plain text"):
        read_samples(Config(dataset=[str(path)]), wants=Conversation)
