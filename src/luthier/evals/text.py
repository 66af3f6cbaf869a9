"""How like a reference an answer is: LLaMA-Factory's figures, and those of sacrebleu and rouge-score under their own names.

Enters: predictions and references as texts. Leaves: name -> figure out of 100. Never: loads a model.

LLaMA-Factory's, which takes the definitions of nltk and rouge-chinese:
    bleu-4               sentence BLEU over characters, in every language; Chen and Cherry 2014, smoothing 3
    rouge-1, -2, -l      F1 over the words that jieba cuts; of n-grams as sets, of the longest common subsequence
Each is rounded to 4 digits for a pair, then the mean is taken; 0 where a side has no words.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from luthier.runtime.pointers import cache_folder

if TYPE_CHECKING:
    import jieba

SENTENCE_ENDS = (
    re.compile(r"([。！？?])([^”’])"),
    re.compile(r"(\.{6})([^”’])"),
    re.compile(r"(…{2})([^”’])"),
    re.compile(r"([。！？?][”’])([^，。！？?])"),
)
"""Where rouge-chinese begins a new sentence: between the two groups, pattern after pattern."""

CHINESE = re.compile(r"[\u3400-\u9fff]")


def similarity(prediction: str, reference: str) -> dict[str, float]:
    """LLaMA-Factory's figures of one pair: rouge-1, rouge-2, rouge-l, bleu-4."""
    words, wanted = (list(_jieba().cut(text)) for text in (prediction, reference))
    scores = {"rouge-1": 0.0, "rouge-2": 0.0, "rouge-l": 0.0}
    if "".join(words).strip() and "".join(wanted).strip():
        scores = rouge(" ".join(words), " ".join(wanted))
    scores["bleu-4"] = bleu4(prediction, reference)
    return {name: round(100 * score, 4) for name, score in scores.items()}


def text_metrics(
    predictions: Sequence[str], references: Sequence[str], pairs: Sequence[Mapping[str, float]] | None = None
) -> dict[str, float]:
    """Means over all pairs: LLaMA-Factory's four, exact_match, bleu (sacrebleu), and rouge1, rouge2, rougeL (rouge-score).

    pairs: similarity of each pair, where it is known already.

    bleu cuts Chinese text by character and other text by sacrebleu's default (13a). rouge-score knows Latin letters and digits
    only, so its figures are left out where the references are Chinese.
    """
    if not predictions:
        return {}
    if pairs is None:
        pairs = [similarity(prediction, reference) for prediction, reference in zip(predictions, references, strict=True)]
    means = {name: sum(pair[name] for pair in pairs) / len(pairs) for name in pairs[0]}
    same = sum(prediction.strip() == reference.strip() for prediction, reference in zip(predictions, references))
    means["exact_match"] = 100 * same / len(pairs)
    chinese = is_chinese(references)
    means["bleu"] = sacre_bleu(predictions, references, "zh" if chinese else "13a")
    if not chinese:
        means |= rouge_score(predictions, references)
    return {name: round(mean, 4) for name, mean in means.items()}


def bleu4(prediction: str, reference: str) -> float:
    """BLEU up to 4-grams of characters, 0 to 1, for one reference. Papineni et al. 2002, smoothed as mteval-v13a does.

    The k-th order without a match counts as 1 / 2^k matches ("smoothing 3" of Chen and Cherry 2014).
    """
    if not set(prediction) & set(reference):
        return 0.0
    logs, unmatched = [], 0
    for n in range(1, 5):
        found, wanted = _ngrams(prediction, n), _ngrams(reference, n)
        matches = sum((found & wanted).values())
        if matches == 0:
            unmatched += 1
        logs.append(math.log((matches or 0.5**unmatched) / max(1, found.total())))
    brevity = min(0.0, 1 - len(reference) / len(prediction))
    return math.exp(brevity + sum(logs) / 4)


def rouge(prediction: str, reference: str) -> dict[str, float]:
    """rouge-1, rouge-2 and rouge-l (F1, 0 to 1) of two texts of words parted by spaces. Lin 2004, as rouge-chinese has it."""
    words, wanted = _words(prediction), _words(reference)
    scores = {}
    for n in (1, 2):
        found, aim = _ngrams(tuple(words), n).keys(), _ngrams(tuple(wanted), n).keys()
        scores[f"rouge-{n}"] = _f1(len(found & aim), len(found), len(aim))
    scores["rouge-l"] = _f1(common_subsequence(words, wanted), len(words), len(wanted))
    return scores


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, a column of the table at a time as bits of one number. Hyyrö 2004.

    A zero bit i means that the length grows at left[i].  "abcd", "bd" -> 2
    """
    places: dict[str, int] = {}
    for index, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << index
    every = (1 << len(left)) - 1
    column = every
    for word in right:
        matches = column & places.get(word, 0)
        column = (column + matches | column - matches) & every
    return len(left) - column.bit_count()


def sacre_bleu(predictions: Sequence[str], references: Sequence[str], tokenize: str) -> float:
    """Corpus BLEU as sacrebleu gives it. tokenize: 13a (its default), zh ..."""
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenize).corpus_score(list(predictions), [list(references)]).score


def rouge_score(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of rouge1, rouge2, rougeL as the package rouge-score gives them, without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names)
    scores = [scorer.score(reference, prediction) for prediction, reference in zip(predictions, references)]
    return {name: 100 * sum(score[name].fmeasure for score in scores) / len(scores) for name in names}


def is_chinese(texts: Sequence[str]) -> bool:
    """Whether more than a tenth of the characters are Chinese ones (English words take more characters than Chinese ones)."""
    characters = sum(map(len, texts))
    return sum(len(CHINESE.findall(text)) for text in texts) > characters / 10


def describe(metrics: Mapping[str, float]) -> str:
    """One line for people: `bleu-4 31.20   rouge-1 47.05 ...`."""
    return "   ".join(f"{name} {value:.2f}" for name, value in metrics.items())


def _words(text: str) -> list[str]:
    """The words of all sentences. A sentence of spaces alone counts as one empty word, as rouge-chinese counts it."""
    for pattern in SENTENCE_ENDS:
        text = pattern.sub(r"\1\n\2", text)
    sentences = [" ".join(sentence.split()) for sentence in text.rstrip().split("\n") if sentence]
    return [word for sentence in sentences for word in sentence.split(" ")]


def _ngrams(items: Sequence[str], n: int) -> Counter:
    return Counter(items[start : start + n] for start in range(len(items) - n + 1))


def _f1(common: int, found: int, wanted: int) -> float:
    precision, recall = (common / count if count else 0.0 for count in (found, wanted))
    return 2 * precision * recall / (precision + recall + 1e-8)  # rouge-chinese adds 1e-8 where others look for a zero


@cache
def _jieba() -> jieba.Tokenizer:
    """jieba with its default dictionary, whose index lies in the user's cache and not in /tmp, where anybody could put one."""
    import jieba

    # its logger is set to DEBUG on import; what it calls an error is only that the index could not be kept (a read-only home)
    logging.getLogger("jieba").setLevel(logging.CRITICAL)
    folder = cache_folder() / "jieba"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(folder)
    return tokenizer
