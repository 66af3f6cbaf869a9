"""Every key is documented in both languages; the reference page, the JSON schema and `config explain` follow from that."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from luthier.cli.config import command
from luthier.config import Config
from luthier.config.docs import read_docs
from luthier.config.explain import explain_key, list_keys
from luthier.config.json_schema import make_schema
from luthier.config.reference import GROUP_NAMES, write_page
from luthier.config.schema import groups
from luthier.config.tables import read_table
from luthier.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize("group", groups())
def test_every_key_is_documented(group: str):
    keys, documented = groups()[group].model_fields.keys(), read_table(f"docs/{group}")
    assert documented.keys() == keys
    for key, text in documented.items():
        assert set(text) <= {"en", "zh", "when_en", "when_zh", "inert"}, key
        assert text["en"].endswith((".", ")")) and not CHINESE.search(text["en"]), key
        assert text["zh"].endswith(("。", ")")) and CHINESE.search(text["zh"]), key
        assert ("when_en" in text) == ("when_zh" in text), key
        assert all("\n" not in value for value in text.values() if isinstance(value, str)), key


def test_docs_hold_every_key_once():
    assert list(read_docs()) == list(Config.model_fields)
    assert {doc.group for doc in read_docs().values()} == set(GROUP_NAMES)


def test_keys_that_matter_say_when_to_change_them():
    for key in (
        "learning_rate",
        "num_train_epochs",
        "lora_rank",
        "cutoff_len",
        "per_device_train_batch_size",
        "packing",
        "val_size",
    ):
        assert read_docs()[key].when_en and read_docs()[key].when_zh, key


@pytest.mark.parametrize(("lang", "name"), [("en", "config.md"), ("zh", "config_zh.md")])
def test_reference_page_is_up_to_date(lang: str, name: str):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == write_page(lang), "run: python -m luthier.config.reference"


def test_schema_accepts_what_load_config_accepts():
    properties = make_schema()["properties"]
    assert properties.keys() == Config.model_fields.keys()
    assert all(prop["description"] and prop["title"] == key for key, prop in properties.items())
    assert properties["lora_rank"] | {"description": ""} == {
        "default": 8,
        "minimum": 1,
        "title": "lora_rank",
        "type": "integer",
        "description": "",
    }
    assert {"type": "string"} in properties["dataset"]["anyOf"]
    assert "sft" in properties["stage"]["enum"]
    assert CHINESE.search(make_schema("zh")["properties"]["seed"]["description"])


def test_explain():
    text = explain_key("lora_rank")
    assert "whole number, at least 1" in text and "default: 8" in text
    assert "eval_strategy" in explain_key("--evaluation-strategy")
    assert CHINESE.search(explain_key("lora_rank", "zh"))
    with pytest.raises(ConfigError, match=r'unknown key "lora_rnak"\.\n  Did you mean lora_rank'):
        explain_key("lora_rnak")


def test_list():
    text = list_keys("tuning")
    assert "lora_rank [8]" in text and "learning_rate" not in text
    assert "use_unsloth" not in list_keys("model")
    assert "learning_rate [5e-05]" in list_keys(lang="zh")
    with pytest.raises(ConfigError, match="Did you mean tuning"):
        list_keys("tunning")


def test_command(tmp_path: Path):
    run = CliRunner().invoke
    assert "学习率" in run(command, ["explain", "learning_rate", "--lang", "zh"]).output
    assert run(command, ["schema", "--output", str(tmp_path / "s.json")]).exit_code == 0
    assert (tmp_path / "s.json").read_text(encoding="utf-8").startswith("{")
    assert isinstance(run(command, ["schema", "--output", str(tmp_path / "no" / "s.json")]).exception, ConfigError)
    assert "lora_rank" in run(command, ["list", "tuning"]).output
    assert "Example" in run(command, ["explain", "--help"]).output


def test_importing_is_light():
    """Best of three fresh processes, in their own CPU time: other work on the machine does not count."""
    code = (
        "import time; t = time.process_time(); import luthier.config, sys; print(time.process_time() - t, *sorted(sys.modules))"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.split()
        for _ in range(3)
    ]
    heavy = {"torch", "transformers", "numpy", "datasets", "peft", "typer", "rich"}
    assert not heavy & set(outputs[0])
    assert min(float(output[0]) for output in outputs) < 0.6
