"""Law 5 in one process: stop at any step, resume, and every bit of weights and metrics is as if never stopped."""

import pytest
import torch

from luthier.errors import CheckpointError
from luthier.trainer import checkpoint as checkpoints
from luthier.trainer.callbacks.base import Callback
from tests.trainer.bench_of import make_trainer, weights

KEYS = {
    "save_strategy": "steps",
    "save_steps": 2,
    "logging_steps": 3,
    "eval_strategy": "steps",
    "eval_steps": 4,
    "lr_scheduler_type": "cosine",
}
TIMES = {"elapsed_s", "tokens_per_second", "eval_runtime"}

TENSORS = "trainer/tensors.safetensors"


class KillAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, progress, metrics):
        if progress.step == self.step:
            raise SystemExit("killed")


def numbers(trainer):
    return [{key: value for key, value in row.items() if key not in TIMES} for row in trainer.run.read_metrics()]


VARIANTS = {
    "full": {"finetuning_type": "full"},
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "lora-dropout-neftune": {"finetuning_type": "lora", "lora_dropout": 0.2, "neftune_noise_alpha": 5.0},
    "lora-packing": {
        "finetuning_type": "lora",
        "lora_dropout": 0.1,
        "packing": True,
        "cutoff_len": 60,
        "per_device_train_batch_size": 1,
    },
    "sgd": {"optim": "sgd", "optim_args": "momentum=0.9", "learning_rate": 0.05},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("killed_at", [3, 6])
def test_resumed_bits_equal_those_never_killed(tmp_path, variant, killed_at):
    keys = KEYS | VARIANTS[variant]
    whole = make_trainer(tmp_path / "whole", **keys)
    whole.fit()
    with pytest.raises(SystemExit):
        make_trainer(tmp_path / "cut", callbacks=(KillAt(killed_at),), **keys).fit()
    resumed = make_trainer(tmp_path / "cut", resume_from_checkpoint="true", **keys)
    resumed.fit()
    assert numbers(resumed) == numbers(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(resumed)[name], tensor), name


def test_a_broken_checkpoint_is_recognised_and_the_one_before_it_used(tmp_path, caplog):
    with pytest.raises(SystemExit):
        make_trainer(tmp_path / "run", callbacks=(KillAt(5),), **KEYS).fit()
    newest = tmp_path / "run" / "checkpoints" / "step-4"
    with (newest / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    assert "model.safetensors has 100 bytes" in checkpoints.fault(newest)
    with caplog.at_level("INFO"):
        make_trainer(tmp_path / "run", resume_from_checkpoint="true", **KEYS).fit()
    assert f"resumed from {newest.with_name('step-2')}" in caplog.text
    assert "step-4 is not used: model.safetensors has 100 bytes" in caplog.text


def test_a_flipped_bit_is_recognised(tmp_path):
    trainer = make_trainer(tmp_path / "run", **KEYS)
    trainer.fit()
    file = trainer.run.checkpoint(2) / TENSORS
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert checkpoints.fault(trainer.run.checkpoint(2)) == f"{TENSORS} has changed since it was written"


def test_resuming_with_other_settings_is_refused(tmp_path):
    make_trainer(tmp_path / "run", **KEYS).fit()
    with pytest.raises(CheckpointError, match=r"learning_rate: 0\.003 there, 0\.0001 here"):
        make_trainer(tmp_path / "run", resume_from_checkpoint="true", **(KEYS | {"learning_rate": 1e-4}))


def test_no_pickle_in_a_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path / "run", **KEYS)
    trainer.fit()
    suffixes = {path.suffix for path in trainer.run.checkpoint(2).rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors"}
