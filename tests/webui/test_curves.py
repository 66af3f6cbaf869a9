"""Metrics files, read as they grow, thinned without losing a spike."""

import json

import numpy as np

from luthier.webui.curves import POINTS, Curves, smooth, thin


def write(file, rows, mode="w"):
    with file.open(mode) as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_growing_file_is_read_on_and_a_rewritten_one_anew(tmp_path):
    file, curves = tmp_path / "metrics.jsonl", Curves()
    assert curves.read(file) == {}
    write(file, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None, "eval_loss": 3.0}])
    assert curves.read(file)["loss"].tolist() == [[1, 2.0]]
    with file.open("a") as out:
        out.write('{"step": 3, "loss": 1.')  # torn: it is being written
    assert curves.read(file)["loss"].tolist() == [[1, 2.0]]
    with file.open("a") as out:
        out.write("5}\n")
    assert curves.read(file)["loss"].tolist() == [[1, 2.0], [3, 1.5]]
    write(file, [{"step": 1, "loss": 9.0}])  # a resumed run dropped the rest
    assert curves.read(file)["loss"].tolist() == [[1, 9.0]]


def test_thinning_keeps_ends_spikes_and_order():
    values = np.column_stack([np.arange(10_000.0), np.sin(np.arange(10_000) / 500)])
    values[4321, 1] = 50
    thinned = thin(values)
    assert len(thinned) <= POINTS
    assert thinned[0, 0] == 0 and thinned[-1, 0] == 9999
    assert 50 in thinned[:, 1]
    assert (np.diff(thinned[:, 0]) > 0).all()
    assert thin(values[:10]).tolist() == values[:10].tolist()


def test_smoothing_by_hand():
    """A window of 3 with weights 1/2, 1, 1/2: the middle is (4/2 + 1 + 7/2) / 2, the first (4 + 1/2) / 1.5."""
    assert np.allclose(smooth(np.array([4.0, 1.0, 7.0]), 0.1), [3.0, 3.25, 5.0])
    assert np.allclose(smooth(np.full(500, 2.5), 0.1), 2.5)
    assert np.allclose(smooth(np.array([1.0]), 0.1), [1.0])


def test_a_smoothed_line_does_not_lag():
    falling = np.linspace(10, 0, 1000)
    assert np.abs(smooth(falling, 0.06) - falling)[60:-60].max() < 1e-9
