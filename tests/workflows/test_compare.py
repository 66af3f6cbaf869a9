"""Models compared: answers are those of predict, differences those of the rows, nothing asked twice, refusals."""

import json

import pytest

from luthier.cli import main
from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.workflows import compare as module
from luthier.workflows.compare import compare, results_of


@pytest.fixture
def keys(tiny_folder, dataset, tmp_path):
    return {
        "template": "qwen", "dataset": str(dataset), "max_new_tokens": 6, "do_sample": False, "stage": "sft",
        "predict_with_generate": True, "output_dir": str(tmp_path / "compared"),
    }  # fmt: skip


def test_base_and_adapters_side_by_side(keys, adapters, tmp_path, monkeypatch):
    models = ["base", *map(str, adapters)]
    results = compare(load_config(keys | {"models": models}))
    folder = tmp_path / "compared"
    assert list(results["models"]) == ["base", "tuned1", "tuned2"] and results["against"] == "base" and results["rows"] == 6
    answers = {
        name: [json.loads(line)["predict"] for line in (folder / name / "generated_predictions.jsonl").read_text().splitlines()]
        for name in results["models"]
    }
    assert answers["base"] != answers["tuned1"] != answers["tuned2"]
    assert json.loads((folder / "compare_results.json").read_text()) == results
    text = (folder / "report.html").read_text()
    assert all(f"<th>{name}</th>" in text for name in answers) and "95 % of resamples" in text
    monkeypatch.setattr(module, "predict", lambda config: pytest.fail("asked twice"))
    assert compare(load_config(keys | {"models": models})) == results


def test_differences_are_those_of_the_rows():
    rows = {
        "a": [{"predict": "no", "label": "yes it is"}, {"predict": "yes it is", "label": "yes it is"}],
        "b": [{"predict": "yes it is", "label": "yes it is"}, {"predict": "yes it is", "label": "yes it is"}],
    }
    results = results_of(rows)
    assert results["models"]["a"]["exact_match"] == 50 and results["models"]["b"]["exact_match"] == 100
    assert results["differences"]["b"]["exact_match"] == {"mean": 50.0, "low": 0.0, "high": 100.0, "sure": False}


def test_refusals(keys, tiny_folder, capsys):
    with pytest.raises(ConfigError, match="two models or more"):
        compare(load_config(keys | {"models": [str(tiny_folder)]}))
    with pytest.raises(ConfigError, match="here are 0 such models"):
        compare(load_config(keys | {"models": ["base", str(tiny_folder)]}))
    assert main(["compare", "dataset=x"]) == 2 and "needs models" in capsys.readouterr().err
