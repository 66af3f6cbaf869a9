"""The reading is said and saved."""

import pytest

from luthier.trainer.callbacks.reading import CurveReading


def test_said_in_both_languages_and_saved_with_its_numbers(
    config, run, progress, curve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="luthier")
    CurveReading(config, run).on_train_end(progress, {"state": "finished"})
    text = run.curve_reading.read_text()
    assert "## converged" in text and "验证损失" in text and "| fall_percent |" in text
    assert caplog.records[-1].getMessage().startswith("The curve (converged): The eval loss went from")


def test_a_loss_that_is_no_number_comes_with_the_reason(config, run, progress, curve) -> None:
    summary = {"state": "failed", "reason": "the loss is nan at step 41: the training stopped. The last good checkpoint is x."}
    CurveReading(config, run).on_train_end(progress, summary)
    assert "## diverging" in run.curve_reading.read_text()
    CurveReading(config, run).on_train_end(progress, {"state": "failed", "reason": "out of memory at step 41"})
    assert "## diverging" not in run.curve_reading.read_text()
