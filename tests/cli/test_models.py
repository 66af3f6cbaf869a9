"""`luthier models`: what is known by name, and what lies here."""

import json

import pytest

from luthier.cli import main


def test_text_and_kind_narrow_the_list(capsys):
    assert main(["models", "qwen3-0.6", "--kind", "base"]) == 0
    assert capsys.readouterr().out.split() == ["Qwen/Qwen3-0.6B-Base", "base"]


def test_what_was_downloaded_is_marked_and_other_downloads_are_listed(tmp_path, monkeypatch, capsys):
    for name in ("Qwen--Qwen3-0.6B", "somebody--mine"):
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["huggingface"] for row in rows if row["downloaded"]} == {"Qwen/Qwen3-0.6B", "somebody/mine"}
    assert rows[0]["huggingface"] == "starter"


@pytest.mark.parametrize(("argv", "code"), [(["models", "no such model"], 0), (["models", "--kind", "huge"], 2)])
def test_nothing_found_is_said(argv, code, capsys):
    assert main(argv) == code
    said = capsys.readouterr()
    assert "no such model" in said.out or "chat, reasoning, base" in said.err
