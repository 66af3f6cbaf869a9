"""What is said while a model trains."""

import pytest

from luthier.trainer.callbacks.progress_bar import ProgressBar, row_text

ROW = {"step": 40, "loss": 1.23456, "learning_rate": 5e-5, "grad_norm": 1.0, "tokens_per_second": 1234.5, "elapsed_s": 20.0}


def test_row_text() -> None:
    assert row_text(ROW) == "loss 1.2346  lr 5.00e-05  1,234 tokens/s"
    assert row_text({"loss": None}) == "loss nan"
    assert row_text({"eval_loss": 1.5, "eval_accuracy": 0.75, "epoch": 1.0}) == "eval_loss 1.5000  eval_accuracy 0.75"


def test_plain_lines(config, run, progress, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="luthier")
    bar = ProgressBar(config, run)
    bar.on_train_begin(progress)
    bar.on_step_end(progress, ROW)
    bar.on_log(progress, ROW)
    bar.on_train_end(progress, {})
    assert [record.getMessage() for record in caplog.records] == [
        "step 40/100  loss 1.2346  lr 5.00e-05  1,234 tokens/s  0:30 left"
    ]


def test_live_bar_shows_the_numbers_and_the_log_file_keeps_them(
    config, run, progress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import io

    from rich.console import Console

    screen = Console(file=io.StringIO(), force_terminal=True, width=160)
    monkeypatch.setattr("luthier.runtime.progress.console", lambda: screen)
    caplog.set_level("INFO", logger="luthier")
    bar = ProgressBar(config, run)
    bar.on_train_begin(progress)
    bar.on_step_end(progress, ROW)
    bar.on_log(progress, ROW)
    bar.on_evaluate_begin(progress, 3)
    bar.on_evaluate_step(progress, 1)
    bar.bars._progress.refresh()
    bar.on_evaluate_end(progress, {})
    bar.on_log(progress, {"step": 40, "eval_loss": 1.5})
    bar.on_train_end(progress, {})
    shown = screen.file.getvalue()
    assert "loss 1.2346" in shown and "40/100" in shown and "evaluate" in shown and "1/3" in shown
    assert "\x1b[?25h" in shown  # the cursor is back
    assert [getattr(record, "file_only", False) for record in caplog.records] == [True, False]


def test_disable_tqdm_means_plain_lines(config, run, progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    bar = ProgressBar(config.model_copy(update={"disable_tqdm": True}), run)
    bar.on_train_begin(progress)
    assert not bar.bars.is_live
