"""Stores: what was written is what is read; collate by a worked example; steps cut by the user's numbers."""

import numpy as np
import pytest

from luthier.batches.collate import collate
from luthier.batches.loader import Loader, micro_batches, shares
from luthier.batches.store import EncodedStore, write_store
from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded, Segment

X = IGNORE_INDEX


def encoded(ids, labels, weights=None, value=0.0):
    segment = Segment(
        input_ids=np.array(ids, np.int32),
        labels=np.array(labels, np.int32),
        weights=None if weights is None else np.array(weights, np.float32),
    )
    return Encoded(segments=(segment,), value=value)


@pytest.fixture
def store(tmp_path):
    samples = [
        encoded([10, 11, 12], [X, X, 12]),
        encoded([20, 21], [X, 21], [1, 0.5]),
        encoded([30, 31, 32, 33], [X, 31, X, 33]),
    ]
    return write_store(tmp_path / "store", enumerate(samples), {"fingerprint": "f"})


def test_what_was_written_is_read(store):
    assert len(store) == 3
    assert store.lengths.tolist() == [3, 2, 4]
    assert store.supervised.tolist() == [1, 1, 2]
    assert store.segments(2)[0].input_ids.tolist() == [30, 31, 32, 33]
    assert store.report == {"fingerprint": "f"}


def test_collate_by_hand(store):
    """Segments [10 11 12] [20 21]: 12 is predicted from index 1, 21 from index 3."""
    batch = collate(store, [0, 1])
    assert batch.input_ids.tolist() == [[10, 11, 12, 20, 21]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.positions.tolist() == [1, 3]
    assert batch.targets.tolist() == [12, 21]
    assert batch.segment_ids.tolist() == [0, 1]
    assert batch.weights.tolist() == [1.0, 0.5]


def test_a_first_token_is_never_a_target(tmp_path):
    store = write_store(tmp_path / "s", enumerate([encoded([1, 2], [1, 2]), encoded([3, 4], [3, 4])]), {})
    batch = collate(store, [0, 1])
    assert batch.targets.tolist() == [2, 4]
    assert store.supervised.tolist() == [1, 1]


def test_wrapping_cuts_end_to_end_and_loses_nothing(store):
    blocks = store.wrapped(4)
    assert [blocks.segments(i)[0].input_ids.tolist() for i in range(len(blocks))] == [[10, 11, 12, 20], [21, 30, 31, 32, 33]]


def test_a_cut_file_is_recognised(store, tmp_path):
    with (tmp_path / "store" / "ids").open("r+b") as file:
        file.truncate(8)
    with pytest.raises(DataError, match="holds 2 entries, not 9"):
        EncodedStore.open(tmp_path / "store")


def test_split_holds_whole_inputs_together(tmp_path):
    pieces = [(row, encoded([row, row], [X, row])) for row in (0, 0, 1, 2, 2, 2, 3)]
    learned, held = write_store(tmp_path / "s", pieces, {}).split(2, seed=0)
    seen = {store.segments(i)[0].input_ids[0] for store in (held,) for i in range(len(store))}
    assert len(seen) == 2 and len(learned) + len(held) == 7
    assert not seen & {learned.segments(i)[0].input_ids[0] for i in range(len(learned))}


def test_an_epoch_visits_each_sample_once_and_steps_are_pure(store):
    loader = Loader(store, samples_per_step=2, seed=3)
    assert loader.steps_per_epoch == 2
    assert sorted(np.concatenate([loader.step(0).samples, loader.step(1).samples]).tolist()) == [0, 1, 2]
    later = Loader(store, samples_per_step=2, seed=3)
    assert later.step(7).samples.tolist() == loader.step(7).samples.tolist()
    assert loader.step(1).epoch == 1.0


def test_micro_batches_and_shares():
    lengths = np.array([5, 9, 3, 4, 8])
    everything = np.arange(5)
    groups = micro_batches(lengths, everything, 12)
    assert [group.tolist() for group in groups] == [[1], [4], [0, 3, 2]]
    hands = shares(lengths, everything, 2)
    assert sorted(np.concatenate(hands).tolist()) == [0, 1, 2, 3, 4]
    assert abs(int(lengths[hands[0]].sum()) - int(lengths[hands[1]].sum())) <= 5
