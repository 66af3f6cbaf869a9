"""`streaming: true` through a whole training: the same numbers as reading everything first, where one window holds it all."""

import json

import pytest

from luthier.config import Config
from luthier.errors import DataError
from luthier.runs import Run
from luthier.workflows.stream import open_stream
from luthier.workflows.train import train
from tests.workflows.test_encode import Stage, Template, Tokenizer


@pytest.fixture
def rows(tmp_path):
    made = [{"instruction": f"What is {i}?", "input": "", "output": f"It is {i}." * (1 + i % 3)} for i in range(24)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def losses(rows, assets, folder, **keys):
    config = Config(
        model_name_or_path=str(assets / "models" / "stories260K"),
        dataset=[str(rows)],
        do_train=True,
        template="default",
        output_dir=str(folder),
        per_device_train_batch_size=4,
        max_steps=8,
        logging_steps=1,
        learning_rate=1e-3,
        save_strategy="no",
        **keys,
    )
    train(config)
    return [row["loss"] for row in Run.open(folder).read_metrics() if "loss" in row]


@pytest.mark.parametrize("keys", [{}, {"stage": "pt", "cutoff_len": 32}])
def test_one_window_that_holds_all_gives_the_same_curve(rows, assets, tmp_path, keys):
    whole = losses(rows, assets, tmp_path / "whole", **keys)
    assert losses(rows, assets, tmp_path / "streamed", streaming=True, **keys) == whole


def samples_of(tmp_path, count, **keys):
    rows = [{"instruction": "a", "output": "b " * (1 + i % 3)} for i in range(count)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    config = Config(
        dataset=[str(tmp_path / "rows.json")],
        streaming=True,
        max_steps=100,
        preprocessing_batch_size=7,
        output_dir=str(tmp_path / "out"),
        **keys,
    )
    return open_stream(config, Stage(), Template(), Tokenizer())


def test_windows_hold_whole_steps(tmp_path):
    loader = samples_of(tmp_path, 100, buffer_size=22).loader(lambda store: (store, None), 4)
    sizes = [len(loader.step(step).samples) for step in range(50)]
    assert sizes == [4] * 50
    assert [len(loader.store) for _ in [loader.step(0)]] == [24]


def test_val_size_holds_out_the_first_samples(tmp_path):
    stream = samples_of(tmp_path, 30, buffer_size=8, val_size=6)
    assert len(stream.first(6)) == 6
    loader = stream.loader(lambda store: (store, None), 4)
    rows = [row for step in range(6) for row in loader.store.rows[loader.step(step).samples].tolist()]
    assert len(rows) == 24
    with pytest.raises(DataError, match="holds out all of 5"):
        samples_of(tmp_path, 5, val_size=6).first(6)


def test_nothing_to_learn_is_said_at_once(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "a", "output": "?"}] * 9))
    config = Config(dataset=[str(tmp_path / "rows.json")], streaming=True, max_steps=5, output_dir=str(tmp_path / "out"))
    with pytest.raises(DataError, match="nothing is left to learn from"):
        open_stream(config, Stage(), Template(), Tokenizer()).loader(lambda store: (store, None), 4)


def test_rows_are_read_no_further_than_two_windows(tmp_path, monkeypatch):
    stream = samples_of(tmp_path, 1000, buffer_size=20)
    read = 0

    class Counted:
        counts = stream.samples.counts

        def __iter__(self):
            nonlocal read
            for sample in samples:
                read += 1
                yield sample

    samples, stream.samples = stream.samples, Counted()
    loader = stream.loader(lambda store: (store, None), 4)
    loader.step(0)
    loader._ahead[1].result()
    assert read <= 41


def test_bad_rows_that_are_skipped_are_told(tmp_path, caplog):
    rows = [{"instruction": "a", "output": "b"} if i % 7 else {"instruction": "a"} for i in range(40)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    keys = {"streaming": True, "max_steps": 9, "buffer_size": 8, "on_bad_row": "skip", "output_dir": str(tmp_path / "out")}
    config = Config(dataset=[str(tmp_path / "rows.json")], **keys)
    loader = open_stream(config, Stage(), Template(), Tokenizer()).loader(lambda store: (store, None), 4)
    assert 'rows, 8 samples (2 skipped: has no "output"' in caplog.text
    for step in range(9):
        loader.step(step)
    assert "rows, 32 samples (6 skipped" in caplog.text


def test_other_windows_are_other_data(tmp_path):
    """A training must not go on from a checkpoint with windows that hold other samples."""
    assert samples_of(tmp_path, 30, buffer_size=8).fingerprint != samples_of(tmp_path, 30, buffer_size=9).fingerprint
