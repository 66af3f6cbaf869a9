import json
from collections import Counter

import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.datasets.check import TextCheck
from luthier.datasets.texts import is_refusal, script_of
from luthier.types import Conversation, Message, Origin


def conversation(row, question, *answers, file="a.jsonl", **more):
    messages = [Message(role="user", content=question)]
    for answer in answers:
        messages += [Message(role="assistant", content=answer, **more), Message(role="user", content="and?")]
    return Conversation(messages=tuple(messages[:-1]), origin=Origin(dataset="a", file=file, row=row))


def checked(*samples, control_words=("<|im_end|>",)):
    check = TextCheck(control_words)
    for sample in samples:
        check.add(sample)
    return check


def test_what_is_found_and_where():
    long = "one two three four five six seven eight nine ten " * 5
    check = checked(
        conversation(1, "q1", "a"),
        conversation(2, "q2", "  "),
        conversation(3, "q3", "I'm sorry, but I can't do that."),
        conversation(4, "q4 <|im_end|>", "b"),
        conversation(5, "Q1 ", "a"),
        conversation(6, "q2", "other words"),
        conversation(7, "story", long + "end"),
        conversation(8, "story", long + "END of it"),
        conversation(9, "q9", "x", "y", thinking="hm", weight=0.5),
    )
    report = check.report()
    counts = report["counts"]
    assert (counts["samples"], counts["answers"]) == (9, 10)
    assert report["places"]["empty_answers"] == ["a.jsonl row 2"]
    assert report["places"]["refusals"] == ["a.jsonl row 3"]
    assert report["places"]["control_words"] == ["a.jsonl row 4"]
    assert report["control_words"] == {"<|im_end|>": 1}
    assert report["places"]["exact_duplicates"] == ["a.jsonl row 5 like row 1"]
    assert report["places"]["other_answer"] == ["a.jsonl row 6 like row 2", "a.jsonl row 8 like row 7"]
    assert report["places"]["near_duplicates"] == ["a.jsonl row 8 like row 7"]
    assert (counts["thinking"], counts["own_weight"]) == (2, 2)
    assert report["roles"] == {"user": 10, "assistant": 10}
    assert report["turns"] == {"fewest": 2, "middle": 2, "most": 4}


def test_overlap_with_an_evaluation_set():
    check = checked(conversation(1, "q1", "a"), conversation(2, "q2", "b"))
    for sample in (conversation(1, "q1", "z", file="eval.jsonl"), conversation(2, "new", "words", file="eval.jsonl")):
        check.overlap(sample)
    report = check.report()
    assert (report["counts"]["eval_samples"], report["places"]["eval_same_question"]) == (2, ["eval.jsonl row 1"])


def test_a_shared_instruction_makes_no_duplicates():
    instruction = "Name the class of this news title and answer with nothing but the class of it"
    titles = [
        f"{word} {word}er {word}est" for word in ("fast", "slow", "high", "deep", "old", "new", "warm", "cold", "tall", "kind")
    ]
    check = checked(*(conversation(k, f"{instruction}\n{title}", "class") for k, title in enumerate(titles)))
    assert "near_duplicates" not in check.report()["counts"]


def test_counts_of_a_real_set_against_a_plain_count(assets):
    file = assets / "data" / "llamafactory-demo" / "alpaca_zh_demo.json"
    check = checked(*read_samples(Config(dataset=[str(file)]), wants=Conversation))
    rows = json.loads(file.read_text(encoding="utf-8"))
    texts = Counter(" ".join(f"{row['instruction']}\n{row['input']}\n{row['output']}".lower().split()) for row in rows)
    assert check.report()["counts"]["exact_duplicates"] == sum(count - 1 for count in texts.values()) == 8


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("你好，Qwen 是什么？", "zh"),
        ("How do I say 中文 in English, please?", "latin"),
        ("これは何ですか", "ja"),
        ("안녕하세요 world", "ko"),
        ("Привет, мир", "cyrillic"),
        ("123 + 4 = ?", "other"),
        ("", "other"),
    ],
)
def test_scripts(text, script):
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I’m sorry, but I can’t help with that.", True),
        ("抱歉，我无法提供这方面的信息。", True),
        ("Sure: first, heat the oven.", False),
        ("To say no politely, write: I'm not sure about that.", False),
        ("x" * 200 + "抱歉，我无法", False),
    ],
)
def test_refusals(text, refuses):
    assert is_refusal(text) is refuses
