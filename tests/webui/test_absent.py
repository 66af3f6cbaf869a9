"""A job does not start with a model, an adapter or a dataset that is not there."""

import json

import pytest

from luthier.webui.absent import absent
from luthier.webui.words import say

GOOD = {"model_name_or_path": "starter", "dataset": ["mine"], "dataset_dir": "data"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.json").write_text("[]")
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.json"}}))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"dataset": ["mine", "data/rows.json", "rows.json", "https://example.org/x.json", "data/*.json"]}, []),
        ({"model_name_or_path": "Qwen/Qwen3-0.6B", "adapter_name_or_path": ["adapter", "me/lora"]}, []),
        ({"dataset": ["no-such"], "dataset_dir": "ONLINE"}, []),
        ({"models": ["base", "starter", "adapter"]}, []),
        ({"model_name_or_path": "./nowhere"}, ["model_name_or_path"]),
        ({"model_name_or_path": "adapter"}, ["model_name_or_path"]),
        ({"adapter_name_or_path": ["saves/gone/away"]}, ["adapter_name_or_path"]),
        ({"models": ["base", "saves/gone/away"]}, ["models"]),
        ({"dataset": ["mine", "yours"], "eval_dataset": ["theirs"]}, ["dataset", "eval_dataset"]),
    ],
)
def test_what_is_not_here_is_named(here, settings, keys):
    found = absent(GOOD | settings, lambda key, **values: say("zh", key, **values))
    assert list(found) == keys
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in found.values())
