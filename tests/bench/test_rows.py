"""Rows of the benchmarks: real, all different, readable by both sides."""

import json

from bench.gpu.rows import random_rows
from bench.rows import make_rows


def test_rows_are_the_files_own_and_more_than_it_has_stay_different(assets, tmp_path):
    folder = make_rows(assets, tmp_path, 1200, held_out=5)
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    source = json.loads((assets / "data/llamafactory-demo/alpaca_zh_demo.json").read_text(encoding="utf-8"))
    assert rows[:1000] == source
    assert (
        len({row["instruction"] + row["input"] for row in rows[1000:]} & {row["instruction"] + row["input"] for row in source})
        == 0
    )
    assert rows[1000]["output"] == source[0]["output"]
    assert json.loads((folder / "held_out.json").read_text(encoding="utf-8")) == source[-5:]
    assert set(json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))) == {"rows", "held_out"}


def test_random_rows_are_the_same_each_time_and_within_bounds():
    full = random_rows("full", 3, 64, vocabulary=50)
    assert [len(row.input_ids) for row in full] == [64, 64, 64]
    assert full == random_rows("full", 3, 64, vocabulary=50)
    assert full[0].supervised == 63  # nothing stands before the first
    chat = random_rows("chat", 200, 4096, vocabulary=50)
    lengths = [len(row.input_ids) for row in chat]
    assert min(lengths) >= 16 and max(lengths) <= 4096 and len(set(lengths)) > 50
    assert all(row.labels[0] == -100 and row.labels[-1] == row.input_ids[-1] for row in chat)
