"""Subsets and blocks give the tokens of the store, whole and in order, without holding them."""

import numpy as np
import pytest

from luthier.batches.flat import flat
from luthier.batches.store import write_store
from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded, Segment


def text(*ids, weights=None):
    array = np.array(ids, np.int32)
    weights = None if weights is None else np.array(weights, np.float32)
    return Encoded(segments=(Segment(input_ids=array, labels=array, weights=weights),))


@pytest.fixture
def documents(tmp_path):
    """Documents of 1 to 7 tokens, numbered through: 0, 1 2, 3 4 5 ..."""
    numbers = iter(range(1000))
    lengths = [1, 2, 3, 7, 1, 5, 4, 6]
    return write_store(tmp_path / "s", enumerate(text(*(next(numbers) for _ in range(n))) for n in lengths), {"a": 1})


def ids(tokens):
    return [tokens.segments(i)[0].input_ids.tolist() for i in range(len(tokens))]


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 7, 28, 29, 100])
def test_blocks_hold_every_token_once_in_order(documents, block):
    blocks = ids(documents.wrapped(block))
    assert [token for each in blocks for token in each] == list(range(29))
    assert all(len(each) == block for each in blocks[:-1])
    assert block == 1 or 2 <= len(blocks[-1]) <= block + 1, "a lone token would teach nothing"
    view = documents.wrapped(block)
    assert view.lengths.tolist() == list(map(len, blocks))
    assert view.supervised.tolist() == [len(each) - 1 for each in blocks]
    assert (len(view.values), len(view.rows), view.report) == (len(blocks), len(blocks), {"a": 1})


def test_blocks_of_a_subset_are_those_of_its_samples_alone(documents):
    chosen = np.array([6, 0, 3])
    expected = [token for sample in chosen for token in documents.segments(int(sample))[0].input_ids.tolist()]
    blocks = ids(documents.subset(chosen).wrapped(5))
    assert [token for each in blocks for token in each] == expected


def test_blocks_keep_weights(tmp_path):
    store = write_store(tmp_path / "s", enumerate([text(1, 2), text(3, 4, 5, weights=[1, 0.5, 2])]), {})
    (first, *_), (second, *_) = (store.wrapped(3).segments(i) for i in range(2))
    assert (first.weights.tolist(), second.weights.tolist()) == ([1, 1, 1], [0.5, 2])


def test_the_first_inputs_are_told_by_their_rows(tmp_path):
    store = write_store(tmp_path / "s", [(row, text(row, row)) for row in (0, 0, 1, 2)], {})
    assert ids(store.first(1)) == [[0, 0], [0, 0]]


def test_supervised_counts_what_collate_predicts(tmp_path):
    """Two segments a sample: the first token of each is never predicted, so [a B C] [D e F] has B, C and F."""
    from luthier.batches.collate import collate

    def pair():
        labels = ([IGNORE_INDEX, 2, 3], [4, IGNORE_INDEX, 6])
        return Encoded(
            segments=tuple(
                Segment(input_ids=np.array(i, np.int32), labels=np.array(each, np.int32))
                for i, each in zip(([1, 2, 3], [4, 5, 6]), labels)
            )
        )

    store = write_store(tmp_path / "s", enumerate([pair(), pair()]), {})
    assert store.supervised.tolist() == [3, 3] == [len(collate(store, [0]).targets)] * 2
    assert store.lengths.tolist() == [6, 6]


def test_segments_must_agree(tmp_path):
    one, two = text(1, 2), Encoded(segments=text(1, 2).segments * 2)
    with pytest.raises(DataError, match="segments cannot share a batch"):
        flat([(0, one), (1, two)])
    with pytest.raises(DataError, match="segments cannot share a batch"):
        write_store(tmp_path / "s", [*((i, one) for i in range(600)), (600, two)], {})


def test_weights_that_begin_late_are_one_before(tmp_path):
    store = write_store(tmp_path / "s", [*((i, text(1, 2)) for i in range(600)), (600, text(3, 4, weights=[1, 3]))], {})
    assert store.segments(0)[0].weights.tolist() == [1, 1]
    assert store.segments(600)[0].weights.tolist() == [1, 3]
