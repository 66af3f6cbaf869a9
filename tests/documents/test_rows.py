"""What decides about rows: quotes, filters, duplicates, splits, leaks, the generator without a model."""

import json
import time
import unicodedata

import pytest

from luthier.documents import dedup
from luthier.documents.chunk import make_chunks
from luthier.documents.dedup import groups, jaccard, near_pairs, same_questions, shingles
from luthier.documents.evidence import find_quote
from luthier.documents.extract import extract_pairs
from luthier.documents.filters import Row, flags_of, meanings
from luthier.documents.leaks import find_leaks
from luthier.documents.split import Piece, assign

SOURCE = "Press **Save** and wait 30 seconds.\nThe light   turns green. 然后关闭窗口，等待同步完成。"


@pytest.mark.parametrize(
    ("quote", "match"),
    [
        ("Press **Save** and wait 30 seconds.", "exact"),
        ("Press Save and wait 30 seconds. The light turns green.", "fuzzy"),
        ("press SAVE and wait 30 second. The light turns green.", "fuzzy"),
        ("Press Save and wait 80 seconds. The light turns green.", "none"),
        ("然后关闭窗口,等待同步完成", "fuzzy"),
        ("Press Save and wait 30 seconds, or else throw it away at once.", "none"),
        ("Close the window and go home for the day.", "none"),
        ("ab", "none"),
    ],
)
def test_quotes_are_found_or_not(quote, match):
    proof = find_quote(SOURCE, quote, 0, len(SOURCE))
    assert proof.match == match
    if match == "exact":
        assert SOURCE[proof.start : proof.end] == quote
    if match == "fuzzy":
        assert SOURCE[proof.start : proof.end][:5].lower() == quote[:5].lower()


def row(**changes) -> Row:
    good = {
        "question": "How long does saving take on the device?",
        "answer": "Press Save and wait 30 seconds.",
        "source": SOURCE,
        "language": "en",
    }
    return Row(**(good | {"quotes": 1, "quotes_found": 1} | changes))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (None, {}),
        ("empty", {"answer": " "}),
        ("cut", {"finish_reason": "length"}),
        ("language", {"question": "保存需要多长时间才能完成呢？"}),
        ("needs_document", {"question": "What does the text say about saving?"}),
        ("needs_document", {"answer": "如图 3 所示，按保存，等待 30 秒。"}),
        ("cites_document", {"answer": "According to the document, wait 30 seconds."}),
        ("cites_document", {"thinking": "According to the text, 30 seconds."}),
        ("refusal", {"answer": "As an AI, I cannot say."}),
        ("leftovers", {"answer": "Wait 30 seconds.</think>"}),
        ("leftovers", {"answer": "Run this:\n```sh\nsave"}),
        ("loop", {"answer": "Wait for the green light. " * 6}),
        ("own_numbers", {"answer": "Press Save and wait 45 seconds."}),
        ("own_words_low", {"answer": "Set `max_wait_time` and press Save."}),
        ("no_evidence", {"quotes_found": 0}),
        ("lost_quote", {"quotes": 2}),
        (None, {"answer": "1. Press Save.\n2. Wait 30 seconds."}),
        (None, {"answer": "按保存键，查看该文件和文本文件。", "language": "zh", "question": "怎样保存一个文本文件呢？"}),
    ],
)
def test_filters_say_why(code, changes):
    found = [flag for flag, _ in flags_of(row(**changes))]
    assert code in found if code else not found
    assert set(found) <= set(meanings())


def test_unanswerable_rows_may_refuse_and_need_no_quote():
    assert not flags_of(row(answer="I cannot answer that; it is not known to me.", quotes=0, quotes_found=0, answerable=False))


def planted(assets, base: int, edits: int):
    """Titles and questions, and edited copies of some: a prefix, a word or character dropped, another mark, a particle."""
    import random

    rng = random.Random(1)
    folder = assets / "data"
    lines = [
        line
        for name in ("train", "test")
        for line in (folder / f"thucnews-titles-zh/{name}.jsonl").read_text("utf-8").splitlines()
    ]
    chinese = [json.loads(line)["input"] for line in lines]
    english = [entry["instruction"] for entry in json.loads((folder / "gsm8k-alpaca-en/gsm8k_train.json").read_text("utf-8"))]
    texts = list(dict.fromkeys(chinese[: base * 2 // 3] + english[: base - base * 2 // 3]))
    rng.shuffle(texts)

    def edit(text: str) -> str:
        is_chinese = any("\u4e00" <= char <= "\u9fff" for char in text)
        kind = rng.randrange(4)
        if kind == 0:
            return ("请问，" if is_chinese else "Please tell me: ") + text
        if kind == 1 and is_chinese:
            at = rng.randrange(len(text) - 1)
            return text[:at] + text[at + 1 :]
        if kind == 1:
            words = text.split()
            words.pop(rng.randrange(len(words)))
            return " ".join(words)
        return text.rstrip("?？.。") + ("？" if kind == 2 else "吗" if is_chinese else " please")

    chosen = rng.sample(range(len(texts)), edits)
    truth = {(at, len(texts) + number) for number, at in enumerate(chosen)}
    return texts + [edit(texts[at]) for at in chosen], truth


def test_near_duplicates_are_found_and_only_they(assets):
    texts, truth = planted(assets, 1500, 300)
    found = list(near_pairs(texts, 0.6))
    assert len({pair[:2] for pair in found} & truth) / len(truth) >= 0.93
    assert all(jaccard(shingles(texts[left]), shingles(texts[right])) >= 0.6 for left, right, _ in found)


@pytest.mark.slow
def test_24000_rows_take_less_than_two_seconds(assets):
    texts, truth = planted(assets, 20_000, 4000)
    began = time.process_time()
    found = {pair[:2] for pair in near_pairs(texts, 0.6)}
    assert time.process_time() - began < 2.0
    assert len(found & truth) / len(truth) >= 0.93
    assert all(alike(texts[left], texts[right]) >= 0.6 for left, right in found)  # precision 1.0, by a ruler of its own


def alike(left: str, right: str) -> float:
    """Jaccard similarity as the study of the methods had it: 2 characters of Chinese, 4 of English, without punctuation."""

    def pieces(text: str) -> set[str]:
        letters = "".join(char if char.isalnum() else " " for char in unicodedata.normalize("NFKC", text).lower())
        is_chinese = any("\u4e00" <= char <= "\u9fff" for char in letters)
        plain = "".join(letters.split()) if is_chinese else " ".join(letters.split())
        size = 2 if is_chinese else 4
        return {plain[at : at + size] for at in range(max(1, len(plain) - size + 1))}

    one, other = pieces(left), pieces(right)
    return len(one & other) / len(one | other)


def test_without_rensa_the_same_is_found(assets, monkeypatch):
    texts, truth = planted(assets, 300, 80)
    monkeypatch.setattr(dedup, "_signatures", dedup._plain_signatures)
    found = {pair[:2] for pair in near_pairs(texts, 0.6)}
    assert len(found & truth) / len(truth) >= 0.93


def test_questions_of_one_pattern_are_not_the_same():
    asked = ['What should one know of "Table View"?', 'What should one know of "Map View"?', "How many has part 12 of it?",
             "How many has part 13 of it?", "how many has part 13 of it"]  # fmt: skip
    assert [pair[:2] for pair in same_questions(asked)] == [(3, 4)]


def test_groups_hang_together():
    assert groups(6, [(0, 1, 1.0), (4, 1, 1.0), (2, 5, 1.0)]) == [[0, 1, 4], [2, 5]]


def test_split_keeps_documents_and_equal_texts_together_and_stays():
    def words(name: int, n: int) -> str:
        return " ".join(
            f"{word}{name * 31 + n}" for word in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
        )

    pieces = [Piece(f"{doc}-{n}", f"doc{doc:02}", "", words(doc, n)) for doc in range(40) for n in range(5)]
    pieces.append(Piece("twin", "doc99", "", words(7, 3)))
    first = assign(pieces, "document", 0.1, 0.1, 42)
    places = {piece.id: split for piece, (_, split) in zip(pieces, first)}
    assert all(len({places[f"{doc}-{n}"] for n in range(5)}) == 1 for doc in range(40))
    assert places["twin"] == places["7-3"]
    shares = [list(places.values()).count(split) / len(places) for split in ("train", "val", "test")]
    assert 0.75 <= shares[0] <= 0.85 and 0.05 <= shares[1] <= 0.15 and 0.05 <= shares[2] <= 0.15
    more = [*pieces, *(Piece(f"new-{n}", f"newer{n}", "", words(100 + n, 0)) for n in range(20))]
    again = assign(more, "document", 0.1, 0.1, 42, known=dict(first))
    assert again[: len(pieces)] == first
    assert assign(pieces, "document", 0.1, 0.1, 43) != first


def test_leaks_are_found_across_splits_only():
    long = "The administrator opens the settings page, chooses the second tab and presses the button to confirm."
    rows = [
        ("a", "train", "How is a backup of the server made?", long),
        ("b", "test", "How is a backup of the server made", long.replace("second", "third")),
        ("c", "train", "Is it free?", "Yes."),
        ("d", "test", "Does it run offline?", "Yes."),
        ("e", "val", "Something else entirely is asked here", long),
        ("f", "train", "How is a backup of the server made?", long),
    ]
    pairs = {frozenset(leak[:2]) for leak in find_leaks(lambda: rows)}
    assert {frozenset("ab"), frozenset("bf"), frozenset("ae"), frozenset("ef")} <= pairs
    assert not any(pair & {"c", "d"} for pair in pairs)
    assert not find_leaks(lambda: [row for row in rows if row[1] == "train"])


MANUAL = """# Handbuch

## How to install the client

1. Download it.
2. Run the installer and wait until it ends.

## Setting the interval

To change the interval of 30 seconds:

```
set interval 60
```

## Terms

A library is a top-level folder that is synced as a whole. It has a history.

| Code | Meaning |
|---|---|
| E12 | The disk is full |

**Can I share a library?**

Yes, with a link or with a group.
"""


def test_the_generator_without_a_model_copies_and_proves():
    chunks = make_chunks(MANUAL, 2000, 0)
    pairs = [pair for found in extract_pairs(MANUAL, chunks, "en", "Handbuch", 50) for pair in found]
    asked = {pair.question: pair for pair in pairs}
    assert asked["Handbuch: How do I install the client?"].type == "how-to"
    assert asked["How do I change the interval of 30 seconds?"].answer.startswith("```")
    assert asked["What is a library?"].answer.startswith("A library is a top-level folder")
    assert asked['Terms: what is the Meaning of "E12"?'].answer == "The disk is full"
    assert asked["Can I share a library?"].answer == "Yes, with a link or with a group."
    for pair in pairs:
        for proof in pair.evidence:
            assert MANUAL[proof.start : proof.end] == proof.quote


def test_a_long_section_is_asked_about_by_its_beginning_and_contents_are_not_rows():
    text = "# Guide\n\n## Background of it all\n\nIt began long ago in a small town.\n\n" + "More words follow here. " * 40
    text += "\n\n## Contents\n\n| 1.1 | Start |\n|---|---|\n| 1.2 | End |\n"
    pairs = [pair for found in extract_pairs(text, make_chunks(text, 400, 0), "en", "Guide", 50) for pair in found]
    assert [pair.answer[:8] for pair in pairs if "Background" in pair.question] == ["It began"]
    assert not any("1.2" in pair.question for pair in pairs)


def test_the_generator_speaks_chinese():
    text = "# 手册\n\n## 新建资料库\n\n点击“新建资料库”按钮，输入名称即可。\n\n"
    text += "## 组织架构\n\n组织架构是指公司内部的部门和成员关系，由管理员维护。\n"
    pairs = [pair for found in extract_pairs(text, make_chunks(text, 800, 0), "zh", "手册", 50) for pair in found]
    asked = [pair.question for pair in pairs]
    assert "关于“手册”：如何新建资料库？" in asked
    assert "什么是组织架构？" in asked
