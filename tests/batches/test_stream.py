"""A stream's steps: every sample once a pass, the same whenever they are asked for, and nothing kept that is not needed."""

import numpy as np
import pytest

from luthier.batches.pack import pack
from luthier.batches.store import write_store
from luthier.batches.stream import StreamLoader
from luthier.types import Encoded, Segment

DATA = 50


class Source:
    """Makes windows of `size` samples; sample k is two tokens k. made: where the windows began."""

    def __init__(self, size, first=0):
        self.size, self.first, self.made = size, first, []

    def __call__(self, first_sample, folder, no_longer_wanted):
        self.made.append(first_sample)
        numbers = range(first_sample, min(DATA, first_sample + self.size))
        end = first_sample + self.size
        encoded = ((k, self.sample(k)) for k in numbers)
        return write_store(folder, encoded, {"next_sample": end if end < DATA else self.first})

    @staticmethod
    def sample(k):
        ids = np.array([k, k], np.int32)
        return Encoded(segments=(Segment(input_ids=ids, labels=ids),))


@pytest.fixture
def loader(tmp_path):
    loaders = []

    def make(source, *, folder="s", arrange=lambda store: (store, None), total_steps=1000, per_step=5, **keys):
        (tmp_path / folder).mkdir(exist_ok=True)
        made = StreamLoader(
            source,
            arrange,
            folder=tmp_path / folder,
            first_sample=source.first,
            samples_per_step=per_step,
            total_steps=total_steps,
            seed=3,
            **keys,
        )
        loaders.append(made)
        return made

    return make


def numbers(loader, step):
    """The samples of a step, sorted, as they were in the data."""
    batch = next(loader.batches(loader.step(step), max_tokens=10**6))
    return sorted(batch.input_ids[0, ::2].tolist())


def test_a_pass_visits_each_sample_once_and_the_next_pass_again(loader):
    stream = loader(Source(20))
    for first in (0, 10):
        assert sorted(k for step in range(first, first + 10) for k in numbers(stream, step)) == list(range(DATA))


def test_windows_are_shuffled_anew_each_pass_or_never(loader):
    stream = loader(Source(20))
    assert [numbers(stream, step) for step in range(10)] != [numbers(stream, step + 10) for step in range(10)]
    straight = loader(Source(20), folder="t", shuffle=False)
    assert numbers(straight, 0) == [0, 1, 2, 3, 4]


def test_held_out_samples_never_come(loader):
    stream = loader(Source(20, first=10))
    assert sorted(k for step in range(16) for k in numbers(stream, step)) == sorted([*range(10, DATA)] * 2)


def test_a_resumed_stream_gives_the_same_steps_and_passes_over_what_came_before(loader, tmp_path):
    stream = loader(Source(20))
    expected = {step: numbers(stream, step) for step in range(23)}
    del stream
    source = Source(20)
    resumed = loader(source)
    assert {step: numbers(resumed, step) for step in (17, 18, 22)} == {step: expected[step] for step in (17, 18, 22)}
    assert source.made[0] == 0, "the first window is looked at to plan the memory"
    assert 20 in source.made, "step 17 lies in the second window of the second pass"
    assert len(source.made) <= 6


def test_without_its_index_a_stream_is_made_again_to_the_same_steps(loader):
    stream = loader(Source(20))
    expected = [numbers(stream, step) for step in range(23)]
    assert numbers(loader(Source(20), folder="elsewhere"), 22) == expected[22]


def test_only_the_window_in_use_and_the_next_lie_on_disk(loader, tmp_path):
    stream = loader(Source(10))
    for step in range(9):
        stream.step(step)
        assert len([path for path in (tmp_path / "s").iterdir() if path.is_dir() and path.name[0] != "."]) <= 2


def test_nothing_is_made_beyond_the_last_step(loader):
    source = Source(20)
    stream = loader(source, total_steps=4)
    for step in range(4):
        numbers(stream, step)
    assert source.made == [0]


def test_packed_rows_are_the_units_of_steps(loader):
    stream = loader(Source(20), arrange=lambda store: (store, pack(store.lengths, 4)), per_step=2)
    steps = [stream.step(k) for k in range(5)]
    assert [step.tokens for step in steps] == [8] * 5, "two rows of two samples of two tokens"
    assert sorted(k for step in range(5) for k in numbers(stream, step)) == list(range(20))


def test_an_error_of_a_window_comes_at_its_step(loader):
    class Broken(Source):
        def __call__(self, first_sample, folder, no_longer_wanted):
            if first_sample:
                raise ValueError("row 21")
            return super().__call__(first_sample, folder, no_longer_wanted)

    stream = loader(Broken(20))
    assert len(numbers(stream, 3)) == 5
    with pytest.raises(ValueError, match="row 21"):
        stream.step(4)
