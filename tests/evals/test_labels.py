"""Accuracy, F1 and the confusion matrix of labels, worked out by hand; when references are labels at all."""

import pytest

from luthier.evals.confusion_plot import confusion_png
from luthier.evals.labels import label_report

REFERENCES = ["cat"] * 4 + ["dog"] * 3 + ["cow"] * 2
ANSWERS = ["cat", "cat", "cat", "dog", "dog", " dog", "cat", "Cow", "cow"]


def test_scores_by_hand():
    """cat: 3 of 4 found, 3 of 4 answers right; dog: 2 of 3, 2 of 3; cow: 1 of 2, 1 of 1 ("Cow" is no label)."""
    report = label_report(ANSWERS, REFERENCES)
    assert report.labels == ("cat", "dog", "cow")
    assert report.matrix == ((3, 1, 0, 0), (1, 2, 0, 0), (0, 0, 1, 1))
    assert report.accuracy == pytest.approx(100 * 6 / 9)
    by_label = {row["label"]: row for row in report.rows()}
    assert by_label["cat"] == {"label": "cat", "precision": 75.0, "recall": 75.0, "f1": 75.0, "support": 4}
    assert by_label["cow"]["precision"] == 100 and by_label["cow"]["recall"] == 50
    assert by_label["cow"]["f1"] == pytest.approx(200 / 3, abs=1e-4)
    assert report.macro_f1 == pytest.approx((75 + 200 / 3 + 200 / 3) / 3, abs=1e-4)


def test_texts_are_no_labels():
    assert label_report(["a"] * 4, ["a", "b", "c", "d"]) is None  # hardly ever the same
    assert label_report(["a"] * 4, ["a"] * 4) is None  # one label tells nothing
    assert label_report(["a"] * 4, ["x" * 50, "x" * 50, "y", "y"]) is None  # long ones


def test_the_picture_is_one():
    assert confusion_png(label_report(ANSWERS, REFERENCES)).startswith(b"\x89PNG")
    assert confusion_png(label_report(["体育"] * 4, ["体育", "体育", "财经", "财经"])).startswith(b"\x89PNG")
