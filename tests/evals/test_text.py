"""The figures against the packages whose definitions they follow, on real Chinese and English text and on awkward strings."""

import itertools
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge

from luthier.evals.text import bleu4, common_subsequence, is_chinese, rouge, similarity, text_metrics

AWKWARD = [
    ("", ""),
    ("", "a"),
    ("a", ""),
    (" \n ", "你好"),
    ("ab", "ab"),
    ("你", "你好"),
    ("你好", "再见"),
    ("第一。\n \n第二？？“真的？”是的……好......嗯", "第一。第二？“真的？” 是的……好......嗯"),
    ("What?? Yes. No...", "What? Yes!\n\nNo......... "),
    ("我是 Archer，由 意琦行 开发的 AI 助手。", "您好，我是 Archer，一个由 意琦行 开发的人工智能助手。"),
]


def oracle(prediction: str, reference: str) -> dict[str, float]:
    """The figures as their own packages give them, put together as LLaMA-Factory documents it."""
    jieba.setLogLevel(60)
    words, wanted = (" ".join(jieba.cut(text)) for text in (prediction, reference))
    scores = {"rouge-1": 0.0, "rouge-2": 0.0, "rouge-l": 0.0}
    if words.split() and wanted.split():
        scores = {name: score["f"] for name, score in Rouge().get_scores(words, wanted)[0].items()}
    scores["bleu-4"] = sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)
    return {name: round(100 * score, 4) for name, score in scores.items()}


def real_pairs(assets: Path, name: str, count: int) -> list[tuple[str, str]]:
    """Pairs with something in common: an answer, against itself cut, shuffled, mixed with another, or another answer."""
    rows = json.loads((assets / f"data/llamafactory-demo/{name}.json").read_text())[:count]
    texts = [row["output"][:200] for row in rows]
    chance = random.Random(0)
    pairs = []
    for text, other in itertools.pairwise(texts):
        halves = [text[: len(text) // 2], other[len(other) // 2 :]]
        shuffled = "".join(chance.sample(text, len(text)))
        pairs += [(chance.choice([text[: len(text) // 2], "".join(halves), shuffled, other, text]), text)]
    return pairs


@pytest.mark.parametrize(("prediction", "reference"), AWKWARD)
def test_awkward_pairs_score_as_the_packages_say(prediction, reference):
    assert similarity(prediction, reference) == oracle(prediction, reference)


@pytest.mark.parametrize("name", ["alpaca_zh_demo", "alpaca_en_demo", "identity"])
def test_real_text_scores_as_the_packages_say(assets, name):
    pairs = real_pairs(assets, name, 60)
    assert [similarity(*pair) for pair in pairs] == [oracle(*pair) for pair in pairs]


@settings(max_examples=300, deadline=None)
@given(st.text("ab。？”.… \n", max_size=25), st.text("ab。？”.… \n", max_size=25))
def test_any_text_scores_as_the_packages_say(prediction, reference):
    if prediction.split() and reference.split():
        expected = Rouge().get_scores(prediction, reference)[0]
        assert rouge(prediction, reference) == pytest.approx({name: score["f"] for name, score in expected.items()}, abs=1e-12)
    expected = sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)
    assert math.isclose(bleu4(prediction, reference), expected, abs_tol=1e-12)


@settings(deadline=None)
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_common_subsequence_is_the_table_of_the_textbook(left, right):
    """L[i][j] = L[i-1][j-1] + 1 where the items agree, else max(L[i-1][j], L[i][j-1])."""
    above = [0] * (len(right) + 1)
    for a in left:
        row = [0]
        for j, b in enumerate(right):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[-1]))
        above = row
    assert common_subsequence(left, right) == above[-1]


def test_means_are_those_of_the_pairs_and_of_sacrebleu_and_rouge_score(assets):
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu

    pairs = real_pairs(assets, "alpaca_en_demo", 30)
    predictions, references = map(list, zip(*pairs))
    metrics = text_metrics(predictions, references)
    each = [oracle(*pair) for pair in pairs]
    for name in each[0]:
        assert metrics[name] == pytest.approx(sum(scores[name] for scores in each) / len(each), abs=1e-4)
    assert metrics["bleu"] == round(corpus_bleu(predictions, [references]).score, 4)
    scores = [RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure for prediction, reference in pairs]
    assert metrics["rougeL"] == pytest.approx(100 * sum(scores) / len(scores), abs=1e-4)
    assert metrics["exact_match"] == pytest.approx(100 * sum(p == r for p, r in pairs) / len(pairs), abs=1e-4)


def test_chinese_is_cut_by_character_and_has_no_english_rouge(assets):
    from sacrebleu import corpus_bleu

    predictions, references = map(list, zip(*real_pairs(assets, "alpaca_zh_demo", 30)))
    metrics = text_metrics(predictions, references)
    assert metrics["bleu"] == round(corpus_bleu(predictions, [references], tokenize="zh").score, 4)
    assert "rougeL" not in metrics
    assert is_chinese(references)
    assert not is_chinese(["I am 小明, an AI assistant who speaks English."])


def test_nothing_to_score_gives_no_figures():
    assert text_metrics([], []) == {}


def test_jieba_says_nothing_and_keeps_its_index_in_the_users_cache(tmp_path):
    code = "from luthier.evals.text import similarity; similarity('你好', '你好吗')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "luthier" / "jieba" / "jieba.cache").is_file()
