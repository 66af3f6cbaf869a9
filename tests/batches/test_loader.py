"""Steps of an epoch, and samples that an epoch leaves out."""

import numpy as np
import pytest

from luthier.batches.loader import Loader


class Store:
    def __init__(self, count):
        self.lengths = self.supervised = np.ones(count, dtype=np.int64)

    def __len__(self):
        return len(self.lengths)


@pytest.mark.parametrize(("count", "left_out", "steps"), [(10, 0, 3), (10, 2, 2), (11, 1, 3), (8, 0, 2)])
def test_each_epoch_learns_every_sample_but_those_left_out_once(count, left_out, steps):
    loader = Loader(Store(count), samples_per_step=4, seed=0, left_out=left_out)
    assert loader.steps_per_epoch == steps
    for epoch in range(3):
        learned = np.concatenate([loader.step(epoch * steps + number).samples for number in range(steps)])
        assert len(learned) == len(set(learned.tolist())) == count - left_out


def test_the_samples_left_out_are_others_in_each_epoch():
    loader = Loader(Store(10), samples_per_step=4, seed=0, left_out=2)
    learned = [{int(n) for number in (0, 1) for n in loader.step(2 * epoch + number).samples} for epoch in range(8)]
    assert len(set.intersection(*learned)) < 8
