"""Whatever a user gets wrong is one screen that says what, where and what to do; exit code 2, and nothing is overwritten."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from luthier import cli
from tests.laws.commands import make_data, run

REPOSITORY = Path(__file__).parents[2]
NEW = {"instruction": "What comes after 7?", "input": "", "output": "8."}


@pytest.fixture
def keys(assets, tmp_path) -> dict[str, object]:
    """A config that would train, and an output folder in which something of the user's lies."""
    kept = tmp_path / "out" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(assets / "models" / "stories260K"),
        "dataset": str(make_data(tmp_path)),
        "template": "chatml",
        "finetuning_type": "lora",
        "output_dir": str(kept.parent),
        "overwrite_output_dir": True,
        "max_steps": 1,
        "report_to": "none",
    }


def refused(keys: dict[str, object] | list, tmp_path: Path, capsys) -> str:
    """What luthier train says; checks what is the same for every mistake."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(keys), encoding="utf-8")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    capsys.readouterr()
    assert cli.main(["train", str(config)]) == 2
    said = capsys.readouterr().err
    assert "Error: " in said and "Traceback" not in said and len(said.splitlines()) < 24, said
    assert all(file.read_bytes().startswith(there) for file, there in before.items())  # a log may go on
    return said


def rows(tmp_path: Path, text: str) -> str:
    file = tmp_path / "rows.json"
    file.write_text(text, encoding="utf-8")
    return str(file)


SETTINGS = {
    "a model folder that is not there": ({"model_name_or_path": "./models/nowhere"}, ["models/nowhere"]),
    "a dataset that nobody knows": ({"dataset": "identiti"}, ["identiti"]),
    "three typos": (
        {"lora_rnak": 8, "learning_rte": 1e-4, "num_train_epoch": 3},
        ['"lora_rank"', '"learning_rate"', '"num_train_epochs"'],
    ),
    "a value out of range": ({"learning_rate": -1}, ["learning_rate", "-1"]),
    "a folder that cannot be written": ({"output_dir": "/proc/luthier"}, ["/proc/luthier"]),
}


@pytest.mark.parametrize("mistake", SETTINGS)
def test_settings(mistake, keys, tmp_path, capsys):
    changed, expected = SETTINGS[mistake]
    said = refused(keys | changed, tmp_path, capsys)
    assert all(part in said for part in expected), said


ROWS = {
    "a column that is not there": (json.dumps([{"title": "a", "stars": 5}]), ["rows.json", "title", "columns"]),
    "a broken row": ('[{"instruction": "a", "output": "b"},\n {"instruction": "a", "output" "b"}]', ["rows.json", "line 2"]),
    "an empty file": ("", ["rows.json", "empty"]),
    "no rows": ("[]", ["rows.json"]),
}


@pytest.mark.parametrize("mistake", ROWS)
def test_rows(mistake, keys, tmp_path, capsys):
    text, expected = ROWS[mistake]
    said = refused(keys | {"dataset": rows(tmp_path, text)}, tmp_path, capsys)
    assert all(part in said for part in expected), said


STAGES = {
    "a reward model without ranking data": ({"stage": "rm"}, ["numbers.json", "holds conversations", "preferences", "ranking"]),
    "DPO without ranking data": ({"stage": "dpo"}, ["numbers.json", "holds conversations", "stages rm and dpo"]),
    "KTO without ratings": ({"stage": "kto"}, ["numbers.json", "holds conversations", "kto_tag"]),
    "SFT on texts": ({"stage": "sft", "dataset": "pt_demo"}, ["pt_demo", "holds plain text", "Set stage: pt"]),
    "GRPO on texts": (
        {"stage": "grpo", "reward_funcs": "format", "dataset": "pt_demo"},
        ["pt_demo", "holds plain text", "prompts"],
    ),
    "several sets, one of them for evaluation": (
        {"stage": "dpo", "dataset": "identity,preference_demo,pt_demo", "eval_dataset": "rated_demo"},
        ['"identity" holds conversations', '"pt_demo" holds plain text', '"rated_demo" holds rated answers'],
    ),
}


@pytest.mark.parametrize("mistake", STAGES)
def test_a_stage_and_its_dataset(mistake, keys, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("luthier.workflows.train.load_model", None)  # nothing is loaded for it
    changed, expected = STAGES[mistake]
    said = refused(keys | {"dataset_dir": str(REPOSITORY / "data")} | changed, tmp_path, capsys)
    assert all(part in said for part in expected) and "preference_demo" not in said, said


REWARDS = {
    "raises": ("raise KeyError('answer')", ["mine.py:reward", "raised KeyError: 'answer'", "After 0 comes 1."]),
    "miscounts": ("return [1.0]", ["mine.py:reward", "returned 1 rewards for 8 answers"]),
    "says words": ("return ['good'] * 8", ["mine.py:reward", "returned 'good' for answer 0"]),
    "takes other arguments": (None, ["mine.py:reward", "raised TypeError", "prompts"]),
}


@pytest.mark.parametrize("stage", ["grpo", "ppo"])
@pytest.mark.parametrize("mistake", REWARDS)
def test_a_reward_function_that(mistake, stage, keys, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("luthier.workflows.train.load_model", None)  # it is tried before
    body, expected = REWARDS[mistake]
    head = "def reward(prompts, completions, **columns):" if body else "def reward(answers):"
    (tmp_path / "mine.py").write_text(f"{head}\n    {body}\n", encoding="utf-8")
    said = refused(keys | {"stage": stage, "reward_funcs": f"{tmp_path}/mine.py:reward"}, tmp_path, capsys)
    assert all(part in said for part in expected), said


def test_everything_is_longer_than_cutoff_len(keys, tmp_path, capsys):
    said = refused(keys | {"cutoff_len": 8, "overflow": "drop"}, tmp_path, capsys)
    assert "cutoff_len" in said and "40" in said


def test_a_yaml_that_is_a_list(keys, tmp_path, capsys):
    assert "config.yaml" in refused(["stage", "sft"], tmp_path, capsys)


def test_an_adapter_made_for_another_model(keys, tmp_path, capsys):
    from peft import LoraConfig, get_peft_model

    from tests.conftest import make_tiny

    adapter = tmp_path / "foreign"
    get_peft_model(make_tiny("qwen3"), LoraConfig(target_modules=["q_proj"])).save_pretrained(adapter)
    said = refused(keys | {"adapter_name_or_path": str(adapter)}, tmp_path, capsys)
    assert "foreign" in said


def test_resume_into_another_config(keys, tmp_path, capsys):
    assert cli.main(["train", *words(keys | {"max_steps": 2, "save_steps": 1})]) == 0
    checkpoint = str(tmp_path / "out" / "checkpoints" / "step-1")
    other = {"max_steps": 3, "learning_rate": 0.5, "resume_from_checkpoint": checkpoint, "overwrite_output_dir": False}
    said = refused(keys | other, tmp_path, capsys)
    assert "learning_rate" in said and "0.5" in said


def words(keys: dict[str, object]) -> list[str]:
    return [f"{key}={value}" for key, value in keys.items()]


def on_a_small_disk(size: str, keys: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """luthier train in a mount namespace of its own, with a file system of that size over output_dir."""
    command = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && "$@"; code=$?; ls -R "$OUT"; exit $code'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "sh", size, str(keys["output_dir"])]
    argv += [sys.executable, "-m", "luthier", "train", *words(keys)]
    return run(argv, OUT=str(keys["output_dir"]))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "24m"])
def test_a_full_disk(size, keys):
    """64 KiB: refused before anything starts. 24 MiB: full while it trains; the last whole checkpoint is there."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    done = on_a_small_disk(size, keys | {"finetuning_type": "full", "max_steps": 12, "save_steps": 1, "save_total_limit": 20})
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "full" in done.stderr or "free" in done.stderr, done.stderr
    assert ".writing" not in done.stdout and ".tmp" not in done.stdout, done.stdout
