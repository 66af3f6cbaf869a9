"""Every set of the shared material loads from its own dataset_info.json or by bare path.

The expected counts come from json.load and line counts, not from our readers.
"""

import json
from pathlib import Path

import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.types import Conversation, Preference, Prompt, Rated, Text

REGISTERED = [
    ("identity", Conversation),
    ("alpaca_en_demo", Conversation),
    ("alpaca_zh_demo", Conversation),
    ("glaive_toolcall_en_demo", Conversation),
    ("glaive_toolcall_zh_demo", Conversation),
    ("dpo_en_demo", Preference),
    ("dpo_zh_demo", Preference),
    ("kto_en_demo", Rated),
    ("wiki_demo", Text),
    ("c4_demo", Text),
    ("alpaca_zh_demo", Prompt),
    ("kto_en_demo", Prompt),
    ("dpo_zh_demo", Prompt),
    ("glaive_toolcall_zh_demo", Prompt),
]
BARE = [
    ("llamafactory-demo/reason_tool_use_demo_50.jsonl", Conversation),
    ("llamafactory-demo/dpo_en_demo.json", Preference),
    ("llamafactory-demo/kto_en_demo.json", Rated),
    ("llamafactory-demo/glaive_toolcall_en_demo.json", Conversation),
    ("llamafactory-demo/c4_demo.jsonl", Text),
    ("llamafactory-demo/wiki_demo.txt", Text),
    ("gsm8k-alpaca-en/gsm8k_train.json", Conversation),
    ("smile-counsel-multiturn-zh/smile_sharegpt_800.json", Conversation),
    ("fastchat-dummy-sharegpt-en/dummy_conversation.json", Conversation),
    ("thucnews-titles-zh/train.jsonl", Conversation),
    ("thucnews-titles-zh/test.jsonl", Prompt),
    ("bfcl-toolcall-en/BFCL_v4_simple_python.jsonl", Prompt),
    ("bfcl-toolcall-en/BFCL_v4_multiple.jsonl", Prompt),
    ("bfcl-toolcall-en/BFCL_v4_parallel.jsonl", Prompt),
]


def count(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    return len(json.loads(text)) if path.suffix == ".json" else len([line for line in text.split("\n") if line.strip()])


@pytest.mark.parametrize(("name", "wants"), REGISTERED)
def test_registered(assets, name, wants):
    folder = assets / "data" / "llamafactory-demo"
    samples = read_samples(Config(dataset=[name], dataset_dir=str(folder)), wants=wants)
    read = list(samples)
    file = json.loads((folder / "dataset_info.json").read_text())[name]["file_name"]
    assert len(read) == count(folder / file) == samples.counts.kept
    assert {type(sample) for sample in read} == {wants}
    assert samples.counts.skipped == 0


@pytest.mark.parametrize(("path", "wants"), BARE)
def test_bare_path(assets, path, wants):
    file = assets / "data" / path
    samples = list(read_samples(Config(dataset=[str(file)]), wants=wants))
    assert len(samples) == count(file)
    assert {type(sample) for sample in samples} == {wants}
    assert samples[-1].origin.file == str(file)


def test_alpaca_values_are_the_files_own(assets):
    folder = assets / "data" / "llamafactory-demo"
    rows = json.loads((folder / "alpaca_zh_demo.json").read_text(encoding="utf-8"))
    samples = read_samples(Config(dataset=["alpaca_zh_demo"], dataset_dir=str(folder)), wants=Conversation)
    for row, sample in zip(rows, samples, strict=True):
        user, answer = sample.messages
        assert user.content == row["instruction"] + ("\n" + row["input"] if row["input"] else "")
        assert answer.content == row["output"]


def test_tool_calls_are_the_files_own(assets):
    folder = assets / "data" / "llamafactory-demo"
    rows = json.loads((folder / "glaive_toolcall_zh_demo.json").read_text(encoding="utf-8"))
    samples = read_samples(Config(dataset=["glaive_toolcall_zh_demo"], dataset_dir=str(folder)), wants=Conversation)
    num_calls = 0
    for row, sample in zip(rows, samples, strict=True):
        assert list(sample.tools) == json.loads(row["tools"] or "[]")
        for raw, message in zip(row["conversations"], [m for m in sample.messages if m.role != "system"], strict=True):
            if raw["from"] == "function_call":
                assert {"name": message.tool_calls[0].name, "arguments": message.tool_calls[0].arguments} == json.loads(
                    raw["value"]
                )
                num_calls += 1
            else:
                assert message.content == raw["value"]
    assert num_calls > 100


def test_reasoning_parts(assets):
    file = assets / "data" / "llamafactory-demo" / "reason_tool_use_demo_50.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    parts = [part for row in rows for message in row["messages"] for part in message["content"]]
    messages = [
        message for sample in read_samples(Config(dataset=[str(file)]), wants=Conversation) for message in sample.messages
    ]
    assert sum(message.thinking is not None for message in messages) == sum(part["type"] == "reasoning" for part in parts)
    assert sum(len(message.tool_calls) for message in messages) == sum(part["type"] == "tool_call" for part in parts)


def test_markdown_pages_are_documents(assets):
    folder = assets / "data" / "seafile-manual"
    texts = list(read_samples(Config(dataset=[str(folder)]), wants=Text))
    pages = sorted(folder.rglob("*.md"))
    assert [text.text for text in texts] == [page.read_text(encoding="utf-8") for page in pages]
    assert len(texts) == 66


@pytest.mark.parametrize(
    ("name", "wants", "words"),
    [
        ("dpo_en_demo", Conversation, "preferences"),
        ("identity", Preference, "conversations"),
        ("kto_en_demo", Conversation, "rated"),
    ],
)
def test_the_wrong_set_for_a_stage_is_named(assets, name, wants, words):
    from luthier.errors import DataError

    with pytest.raises(DataError, match=f'"{name}" holds {words}'):
        read_samples(Config(dataset=[name], dataset_dir=str(assets / "data" / "llamafactory-demo")), wants=wants)
