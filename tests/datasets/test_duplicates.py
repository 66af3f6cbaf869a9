"""MinHash against the exact share of runs in common."""

import random

import numpy as np
import pytest

from luthier.datasets.duplicates import ExactDuplicates, NearDuplicates, word_runs

WORDS = [f"word{k}" for k in range(20)]


def share(a, b):
    a, b = set(word_runs(a).tolist()), set(word_runs(b).tolist())
    return len(a & b) / len(a | b)


def sentences(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(120)) for _ in range(count)]


def changed(text, words, rng):
    parts = text.split()
    for at in rng.sample(range(len(parts)), words):
        parts[at] = "other" + str(at)
    return " ".join(parts)


def test_exact_ignores_case_and_white_space_only():
    seen = ExactDuplicates()
    assert [seen.add(text) for text in ("a b", "a c", "A  b\n", "a b.", "a c")] == [None, None, 0, None, 1]


def test_estimates_follow_the_exact_share():
    near = NearDuplicates()
    rng = random.Random(1)
    errors = []
    for text in sentences(40):
        other = changed(text, rng.randrange(1, 12), rng)
        estimate = np.mean(near._signature(text) == near._signature(other))
        errors.append(estimate - share(text, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() < 0.16  # four standard errors of 128 hashes


def test_near_texts_are_found_and_others_are_not():
    near = NearDuplicates()
    rng = random.Random(2)
    texts = sentences(200)
    for text in texts:
        assert near.add(text) is None
    found = [near.find(changed(text, 2, rng)) for text in texts]  # about 90 % of the runs in common
    assert sum(number == k for k, number in enumerate(found)) >= 195
    assert all(near.find(text) is None for text in sentences(200, seed=3))


@pytest.mark.parametrize(
    ("a", "b"), [("你好，请问今天天气怎么样？我想出门。", "你好，请问今天天气怎么样？我想出门！"), ("", ""), ("hi", "Hi")]
)
def test_small_texts(a, b):
    near = NearDuplicates()
    assert near.add(a) is None
    assert near.add(b) == 0


def test_memory_is_bounded():
    near = NearDuplicates(max_texts=3)
    for text in sentences(10):
        near.add(text)
    assert len(near) == 3
