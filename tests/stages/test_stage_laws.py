"""Laws 2, 3 and 5 for every stage: layouts, micro-batches and accumulation do not change the curve; resuming changes no bit."""

import pytest
import torch
from tests.conftest import make_tiny
from tests.stages.bench import make_trainer, rows

from luthier.stages import STAGES
from luthier.trainer.callbacks.base import Callback

VARIANTS = {
    "pt": {"packing": False},
    "sft": {},
    "sft dft": {"use_dft_loss": True},
    "sft eaft": {"use_eaft_loss": True},
    "sft asft": {"use_asft_loss": True, "finetuning_type": "lora"},
    "pt experts": {"packing": False, "moe_aux_loss_coef": 0.5, "family": "mixtral"},
    "sft experts": {"moe_aux_loss_coef": 0.5, "family": "qwen3_moe"},
    "sft asft experts": {
        "moe_aux_loss_coef": 0.5,
        "family": "qwen3_moe",
        "use_asft_loss": True,
        "finetuning_type": "lora",
    },
    "rm": {},
    "dpo": {"finetuning_type": "lora"},
    "dpo all at once": {
        "finetuning_type": "lora",
        "pref_loss": ["sigmoid", "hinge", "ipo", "robust", "kto_pair", "orpo", "simpo", "cpo"],
        "pref_loss_weights": [1, 0.5, 0.01, 1, 2, 0.3, 1, 0.2],
        "pref_ftx": 0.5,
        "pref_bco_weight": 0.3,
        "ld_alpha": 0.4,
        "dpo_label_smoothing": 0.1,
    },
    "kd": {"teacher_model": "tiny", "kd_alpha": 0.7, "kd_beta": 0.4},
    "kto": {"finetuning_type": "lora", "pref_ftx": 0.2, "kto_rejected_weight": 1.5},
}


@pytest.fixture(autouse=True)
def another_model(monkeypatch):
    """What is loaded beside the model that learns."""
    monkeypatch.setattr("luthier.workflows.equip.load_model", lambda *_, **__: make_tiny("qwen3", tie_word_embeddings=False))


def stage_of(name: str) -> str:
    return name.split()[0]


def test_every_stage_of_the_table_is_tested():
    online = {"grpo", "ppo"}  # tests/stages/test_online.py
    assert {stage_of(name) for name in VARIANTS} == set(STAGES) - online


@pytest.mark.parametrize("name", VARIANTS)
def test_neither_layout_nor_micro_batches_nor_accumulation_change_the_curve(tmp_path, name):
    ways = {
        "at once": {"per_device_train_batch_size": 8, "micro_batch_tokens": 10_000},
        "one by one": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "micro_batch_tokens": 1},
        "padded": {"per_device_train_batch_size": 8, "micro_batch_tokens": 90, "layout": "padded"},
    }
    curves = {}
    for way, keys in ways.items():
        trainer = make_trainer(tmp_path / way, stage_of(name), **(VARIANTS[name] | keys))
        trainer.fit()
        curves[way] = rows(trainer)
    assert len(curves["at once"]) == 6
    for way in ways:
        assert curves[way] == pytest.approx(curves["at once"], abs=1e-5), way


class KillAt(Callback):
    def on_step_end(self, progress, metrics):
        if progress.step == 5:
            raise SystemExit("killed")


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_bits_equal_those_never_killed(tmp_path, name):
    keys = VARIANTS[name] | {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 4}
    whole = make_trainer(tmp_path / "whole", stage_of(name), **keys)
    whole.fit()
    cut = make_trainer(tmp_path / "cut", stage_of(name), **keys)
    cut.callbacks = (KillAt(cut.config, cut.run),)
    with pytest.raises(SystemExit):
        cut.fit()
    again = make_trainer(tmp_path / "cut", stage_of(name), resume_from_checkpoint="true", **keys)
    again.fit()
    assert rows(again) == rows(whole)
    assert rows(again, "eval_loss") == rows(whole, "eval_loss")
    ends = dict(whole.model.named_parameters())
    assert all(torch.equal(tensor, ends[key]) for key, tensor in again.model.named_parameters())
