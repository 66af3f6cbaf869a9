"""README.md of a trained model."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard as HubCard

from luthier.trainer.callbacks.model_card import UNFILLED, ModelCard

SUMMARY = {"state": "finished", "train_loss": 1.05, "step": 40, "reason": None}


def test_the_hub_reads_it(config, run, progress, curve) -> None:
    ModelCard(config, run).on_train_end(progress, SUMMARY)
    card = HubCard.load(run.model_card)
    assert card.data.base_model == "Qwen/Qwen3-8B" and card.data.library_name == "peft"
    assert card.data.tags == ["luthier", "sft", "lora"]
    assert "| train_loss | 1.05 |" in card.text and "| eval_loss | 1.225 |" in card.text
    assert "12,345 tokens" in card.text and "data `identity`" in card.text
    settings = yaml.safe_load(card.text.split("```yaml\n")[1].split("```")[0])
    assert settings == {"learning_rate": 5e-4, "stage": "sft"}


def test_nothing_about_this_machine(config, run, progress, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    local = config.model_copy(update={"model_name_or_path": str(tmp_path / "base"), "finetuning_type": "full"})
    ModelCard(local, run).on_train_end(progress, SUMMARY | {"state": "stopped"})
    text = run.model_card.read_text()
    assert str(tmp_path) not in text and "base_model" not in text and "library_name: transformers" in text
    assert "stopped before the planned end" in text


def test_a_folder_that_looks_like_a_name_of_the_hub(config, run, progress, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    ModelCard(config.model_copy(update={"model_name_or_path": "models/base"}), run).on_train_end(progress, SUMMARY)
    assert "base_model" not in run.model_card.read_text()


def test_no_card_for_a_failed_training(config, run, progress) -> None:
    ModelCard(config, run).on_train_end(progress, {"state": "failed"})
    assert not run.model_card.exists()


@pytest.mark.parametrize(("before", "kept"), [("# my own words", True), (f"- **License:** {UNFILLED}", False)])
def test_a_card_that_a_person_wrote_is_kept(config, run, progress, before: str, kept: bool) -> None:
    run.model_card.write_text(before)
    card = ModelCard(config, run)
    card.on_train_end(progress, SUMMARY)
    assert (run.model_card.read_text() == before) == kept
    if not kept:
        card.on_train_end(progress, SUMMARY | {"train_loss": 0.5})  # its own card is brought up to date
        assert "| train_loss | 0.5 |" in run.model_card.read_text()
