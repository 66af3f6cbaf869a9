"""Each stage improves what it should, on a tiny model: preferred answers gain, rewards put pairs in order."""

import pytest
from tests.stages.bench import make_trainer, rows

LONG = {"num_train_epochs": 5.0, "learning_rate": 5e-3, "eval_strategy": "epoch", "count": 48}


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in ("hinge", "robust", "kto_pair", "simpo", "cpo")]


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "orpo", *SLOWER])
def test_margins_rise_under_every_preference_loss(tmp_path, loss):
    trainer = make_trainer(tmp_path / "run", "dpo", finetuning_type="lora", pref_loss=[loss], **LONG)
    trainer.fit()
    margins, losses = rows(trainer, "eval_rewards/margins"), rows(trainer)
    assert margins[-1] > margins[0] and losses[-1] < losses[0]
    if loss != "cpo":  # its rewards are plain sums, so that longer answers have less
        assert rows(trainer, "eval_rewards/accuracies")[-1] > 0.9


def test_the_first_step_of_dpo_is_log_2(tmp_path):
    """Policy == reference: D = 0, -log s(0) = 0.6931, rewards 0, no margin."""
    trainer = make_trainer(tmp_path / "run", "dpo", finetuning_type="lora", max_steps=1, lora_dropout=0.5)
    trainer.fit()
    (row,) = [row for row in trainer.run.read_metrics() if "loss" in row]
    assert row["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert row["rewards/chosen"] == row["rewards/margins"] == 0.0


def test_a_reward_model_puts_unseen_pairs_in_order(tmp_path):
    trainer = make_trainer(tmp_path / "run", "rm", **LONG)
    trainer.fit()
    assert rows(trainer, "eval_accuracy")[-1] > 0.9


def test_kto_separates_good_from_bad(tmp_path):
    trainer = make_trainer(tmp_path / "run", "kto", finetuning_type="lora", **LONG)
    trainer.fit()
    assert rows(trainer, "eval_rewards/margins")[-1] > 0.1
    assert rows(trainer, "kl")[0] == 0.0
