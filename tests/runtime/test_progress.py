"""Bars on a terminal, lines elsewhere, nothing with -q."""

import logging

import pytest

from luthier.runtime.logging import setup_logging
from luthier.runtime.progress import LiveBars, NoBars, PlainBars, duration, progress_bars, track


def test_the_bars_suit_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("luthier")
    before, level = list(logger.handlers), logger.level
    try:
        setup_logging("WARNING")
        assert type(progress_bars()) is NoBars
        setup_logging("INFO")
        assert type(progress_bars()) is PlainBars  # pytest's stderr is no terminal
        monkeypatch.setattr("rich.console.Console.is_terminal", True)
        assert type(progress_bars()) is LiveBars
        assert type(progress_bars(disable=True)) is PlainBars
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)


def test_plain_lines_come_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="luthier")
    now = [0.0]
    bar = PlainBars(every_s=10, clock=lambda: now[0]).add("predict", total=100)
    for done in range(1, 101):
        now[0] += 0.5
        bar.update(done, "rouge-1 60.0")
    bar.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "predict 20/100, 0:10, 0:40 left  rouge-1 60.0"
    assert len(lines) == 6 and lines[-1].startswith("predict 100/100, 0:50")


def test_resumed_bars_count_only_what_this_process_did(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="luthier")
    now = [0.0]
    bar = PlainBars(every_s=10, clock=lambda: now[0]).add("train", total=100, done=80)
    now[0] = 10
    bar.update(90)
    assert caplog.records[-1].getMessage() == "train 90/100, 0:10, 0:10 left"


def test_live_bars_open_and_close_without_a_terminal() -> None:
    with LiveBars() as bars:
        train, evaluate = bars.add("train", 10), bars.add("evaluate", None)
        train.update(3, "loss 1.0")
        evaluate.update(1)
        evaluate.close()
        train.close()


def test_track_passes_items_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="luthier")
    assert list(track([1, 2, 3], "count")) == [1, 2, 3]
    assert caplog.records[-1].getMessage().startswith("count 3/3")


def test_duration() -> None:
    assert [duration(s) for s in (0, 5, 65, 3725, 90000)] == ["0:00", "0:05", "1:05", "1:02:05", "1 day, 1:00:00"]
