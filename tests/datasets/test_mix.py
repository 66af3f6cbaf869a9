"""The interleaving of the `datasets` library is the oracle for which samples come in which order."""

from collections import Counter
from itertools import chain

import pytest

from datasets import Dataset, interleave_datasets
from luthier.datasets.mix import mix

STRATEGIES = {
    "interleave_under": "first_exhausted",
    "interleave_over": "all_exhausted",
    "interleave_once": "all_exhausted_without_replacement",
}
LENGTHS = [(3, 5), (5, 3), (1, 4, 2), (2, 2, 2), (6, 1)]


def names(lengths):
    return [[f"{'abc'[k]}{i}" for i in range(length)] for k, length in enumerate(lengths)]


def mixed(sets, strategy, probabilities=None, seed=0):
    starts = [lambda rows=rows: iter(rows) for rows in sets]
    return list(mix(starts, strategy, probabilities, seed))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_in_turn_like_datasets(strategy, lengths):
    sets = names(lengths)
    theirs = interleave_datasets([Dataset.from_dict({"x": rows}) for rows in sets], stopping_strategy=STRATEGIES[strategy])
    assert mixed(sets, strategy) == theirs["x"][:]


def test_concat():
    assert mixed(names((2, 3)), "concat") == ["a0", "a1", "b0", "b1", "b2"]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_drawn_by_weight(lengths):
    """Whatever is drawn: under stops with the first set used up, over when all are, once uses all once, each in order."""
    sets = names(lengths)
    weights = [5.0, 1.0, 2.0][: len(sets)]
    for seed in range(20):
        under, over, once = (mixed(sets, strategy, weights, seed) for strategy in STRATEGIES)
        assert sorted(once) == sorted([*chain(*sets)])
        assert set(over) == {*chain(*sets)}
        assert sum(under[-1] == rows[-1] for rows in sets) == 1
        assert sum(rows[-1] in under for rows in sets) == 1
        assert max(Counter(under).values()) == max(Counter(once).values()) == 1
        for rows in sets:
            assert [item for item in once if item in rows] == rows
        assert mixed(sets, "interleave_once", weights, seed) == once


def test_weights_are_shares():
    drawn = Counter(item[0] for item in mixed(names((9000, 9000)), "interleave_under", [3, 1], 1))
    assert drawn["a"] == 9000
    assert 2800 < drawn["b"] < 3200


def test_from_the_config(read, write):
    write("a.jsonl", [{"instruction": f"a{i}", "output": "x"} for i in range(4)])
    write("b.jsonl", [{"instruction": f"b{i}", "output": "x"} for i in range(2)])
    info = {"a": {"file_name": "a.jsonl"}, "b": {"file_name": "b.jsonl"}}
    samples = read(info, mix_strategy="interleave_over")
    assert [sample.messages[0].content for sample in samples] == ["a0", "b0", "a1", "b1", "a2", "b0", "a3", "b1"]
    assert [(one.dataset, one.rows) for one in samples.counts.sets] == [("a", 4), ("b", 2)]


def test_weights_must_fit_the_sets(read, write):
    from luthier.errors import ConfigError

    write("a.jsonl", [{"instruction": "a", "output": "x"}])
    info = {"a": {"file_name": "a.jsonl"}}
    for probs in ([0.5], [0.5, -1], [0, 0]):
        with pytest.raises(ConfigError, match="interleave_probs"):
            read(info, ["a", "a"], mix_strategy="interleave_over", interleave_probs=probs)
