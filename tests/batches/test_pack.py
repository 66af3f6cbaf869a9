"""Packing: no sample lost or twice, no row over capacity, close to the fewest rows possible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.batches.pack import pack
from luthier.errors import DataError


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(50, 120))
def test_every_sample_once_and_no_row_too_long(lengths, capacity):
    rows = pack(np.array(lengths, dtype=np.int64), capacity)
    assert sorted(sample for row in rows for sample in row) == list(range(len(lengths)))
    assert all(sum(lengths[sample] for sample in row) <= capacity for row in rows)
    fewest = -(-sum(lengths) // capacity)
    assert len(rows) <= np.ceil(11 / 9 * fewest) + 1


def test_too_long_a_sample_is_refused_by_number():
    with pytest.raises(DataError, match="sample 1 has 9 tokens; a packed row holds 8"):
        pack(np.array([3, 9]), 8)


def test_many_rows_fill_almost_completely():
    lengths = np.random.default_rng(0).integers(20, 400, 20_000)
    rows = pack(lengths, 2048)
    assert lengths.sum() / (len(rows) * 2048) > 0.995
