"""Law 3 and the behaviours of the loop: curves, evaluation, best checkpoint, early stopping, NaN, out of memory."""

import json

import pytest
import torch

from luthier.errors import ConfigError, TrainingError
from luthier.trainer.callbacks.base import Callback
from tests.trainer.bench_of import losses, make_trainer, weights


def test_it_learns_and_writes_metrics(tmp_path):
    trainer = make_trainer(tmp_path / "run", num_train_epochs=8.0, learning_rate=1e-2)
    summary = trainer.fit()
    curve = losses(trainer)
    assert len(curve) == 48 and curve[-1] < 0.6 * curve[0]
    assert summary["state"] == "finished" and summary["step"] == 48
    rows = [json.loads(line) for line in trainer.run.trainer_log_file.read_text().splitlines()]
    assert rows[-1]["current_steps"] == 48 and rows[-1]["percentage"] == 100.0


@pytest.mark.parametrize("finetuning_type", ["full", "freeze", "lora"])
def test_neither_accumulation_nor_micro_batches_nor_layout_change_the_curve(tmp_path, finetuning_type):
    """Law 3: 8 samples a step, whether as 8 x 1, 2 x 4 or 1 x 8, in one micro-batch or many, packed or padded."""
    variants = {
        "a": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "micro_batch_tokens": 10_000},
        "b": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "micro_batch_tokens": 40},
        "c": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "micro_batch_tokens": 1},
        "d": {
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": 1,
            "micro_batch_tokens": 100,
            "layout": "padded",
        },
    }
    curves, ends = {}, {}
    for name, keys in variants.items():
        trainer = make_trainer(tmp_path / name, finetuning_type=finetuning_type, **keys)
        trainer.fit()
        curves[name], ends[name] = losses(trainer), weights(trainer)
    for name in "bcd":
        assert curves[name] == pytest.approx(curves["a"], abs=1e-5)
        for key, tensor in ends["a"].items():
            torch.testing.assert_close(ends[name][key], tensor, atol=2e-4, rtol=1e-3)


def test_gradient_checkpointing_changes_nothing(tmp_path):
    curves = []
    for name in ("plain", "again"):
        trainer = make_trainer(tmp_path / name)
        if name == "again":
            trainer.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        trainer.fit()
        curves.append(losses(trainer))
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)


def test_packing_makes_fewer_steps_of_the_same_tokens(tmp_path):
    trainer = make_trainer(tmp_path / "run", packing=True, cutoff_len=64, per_device_train_batch_size=2, num_train_epochs=1.0)
    trainer.fit()
    assert trainer.progress.tokens_seen == int(trainer.loader.store.lengths.sum())
    assert trainer.progress.total_steps < 12


def test_evaluation_best_checkpoint_and_early_stopping(tmp_path):
    keys = {
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "load_best_model_at_end": True,
    }
    trainer = make_trainer(
        tmp_path / "run", learning_rate=1.0, early_stopping_steps=2, num_train_epochs=20.0, max_grad_norm=0.0, **keys
    )
    summary = trainer.fit()
    rows = [row for row in trainer.run.read_metrics() if "eval_loss" in row]
    best = min(rows, key=lambda row: row["eval_loss"])
    assert summary["state"] == "stopped early" and "eval_loss has not improved in 2 evaluations" in summary["reason"]
    assert summary["best_step"] == best["step"] and len(rows) < 60
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best["eval_loss"], abs=1e-6)


def test_a_metric_that_no_evaluation_gives_is_named(tmp_path):
    trainer = make_trainer(tmp_path / "run", eval_strategy="steps", eval_steps=1, metric_for_best_model="accuracy")
    with pytest.raises(ConfigError, match=r"no eval_accuracy\.\n  It gives: eval_loss"):
        trainer.fit()


def test_save_total_limit_keeps_the_newest_and_the_best(tmp_path):
    keys = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "load_best_model_at_end": True,
    }
    trainer = make_trainer(tmp_path / "run", save_total_limit=2, **keys)
    trainer.fit()
    kept = trainer.run.checkpoints()
    assert len(kept) == 2 and trainer.run.checkpoint(trainer.progress.best_step) in kept


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path / "run", save_strategy="steps", save_steps=2)

    class Poison(Callback):
        def on_step_end(self, progress, metrics):
            if progress.step == 5:
                next(trainer.model.parameters()).data.fill_(float("nan"))

    trainer.callbacks = (Poison(trainer.config, trainer.run),)
    with pytest.raises(TrainingError, match="the loss is nan at step 6") as error:
        trainer.fit()
    assert "step-4" in str(error.value) and "Lower learning_rate" in str(error.value)


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_numbers(tmp_path):
    reference = make_trainer(tmp_path / "whole", micro_batch_tokens=200, neftune_noise_alpha=5.0)
    reference.fit()
    trainer = make_trainer(tmp_path / "short", micro_batch_tokens=200)
    plain = make_trainer(tmp_path / "plain", micro_batch_tokens=200)
    plain.fit()
    real_loss, failures = trainer.stage.loss, []

    def scarce(scorer, batch):
        if batch.num_tokens > 60:
            failures.append(batch.num_tokens)
            raise torch.OutOfMemoryError("made up")
        return real_loss(scorer, batch)

    trainer.stage.loss = scarce
    trainer.fit()
    assert failures and trainer.updater.micro_batch_tokens <= 60
    assert losses(trainer) == pytest.approx(losses(plain), abs=1e-5)


def test_one_sample_that_does_not_fit_says_what_to_change(tmp_path):
    trainer = make_trainer(tmp_path / "run")

    def never(scorer, batch):
        raise torch.OutOfMemoryError("made up")

    trainer.stage.loss = never
    with pytest.raises(TrainingError, match=r"one sample of \d+ tokens does not fit") as error:
        trainer.fit()
    assert "cutoff_len" in str(error.value)


def test_stop_request_finishes_the_step_and_saves(tmp_path):
    trainer = make_trainer(tmp_path / "run", save_strategy="steps", save_steps=100)

    class Ask(Callback):
        def on_step_end(self, progress, metrics):
            if progress.step == 3:
                trainer.run.request_stop()

    trainer.callbacks = (Ask(trainer.config, trainer.run),)
    assert trainer.fit()["state"] == "stopped"
    assert trainer.progress.step == 3 and trainer.run.checkpoint(3).is_dir()


def test_loraplus_groups_learn_at_their_own_rates(tmp_path):
    trainer = make_trainer(
        tmp_path / "run", finetuning_type="lora", loraplus_lr_ratio=16.0, learning_rate=1e-3, lr_scheduler_type="constant"
    )
    rates = {group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == {1e-3, 1.6e-2}
