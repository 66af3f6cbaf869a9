"""GRPO and PPO as trainings: the reward of a tiny model rises, resuming changes no bit, and PPO's formulas by hand."""

import copy

import numpy as np
import pytest
import torch
from tests.conftest import make_tiny
from tests.stages.bench import CPU, FLOAT32, rows, segment

from luthier.batches.loader import Loader
from luthier.batches.rollouts import RolloutLoader, Rollouts
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.models.score import Scorer
from luthier.models.tokenizer import load_tokenizer
from luthier.runs import Run
from luthier.stages import STAGES
from luthier.stages.ppo import estimate_advantages, token_rewards, whitened
from luthier.stages.prompts import encode_prompts
from luthier.templates import find_template
from luthier.trainer.callbacks.base import Callback
from luthier.trainer.checkpoint import newest
from luthier.trainer.loop import Trainer
from luthier.trainer.parallel import Parallel
from luthier.types import Conversation, Encoded, Message, Prompt
from luthier.workflows.equip import make_adapter, set_reference
from luthier.workflows.online import PLAYERS
from luthier.workflows.respond import Questions, Respondent

WORDS = ("one", "two", "three", "four", "five", "six")
PROMPTS = [Prompt(conversation=Conversation(messages=(Message(role="user", content=word),))) for word in WORDS * 6]
RIGHT = 500
"""Tokens below this number are rewarded."""


def small_numbers(prompts, answers, rollouts):
    """The share of small tokens, times 20: PPO's pull to the reference costs 0.2 a nat, and these answers lie 10 nats away."""
    scores = np.array([np.mean(np.array(answer.tokens) < RIGHT) for answer in answers])
    return 20 * scores, {"rewards/small": float(scores.mean())}


def make_trainer(folder, stage, monkeypatch, *, micro_batch_tokens=4096, layout="auto", **keys):
    defaults = {
        "finetuning_type": "full",
        "learning_rate": 3e-2,
        "output_dir": str(folder),
        "logging_steps": 1,
        "per_device_train_batch_size": 4 if stage == "grpo" else 32,
        "save_strategy": "no",
        "model_name_or_path": "starter",
        "optim": "adamw_torch",
        "max_new_tokens": 6,
        "reward_funcs": ["length"],
    }
    config = Config(do_train=True, stage=stage, **(defaults | keys))
    tokenizer = load_tokenizer(config)
    template = find_template(config, tokenizer)
    encoded = [(number, each[0]) for number, each in enumerate(encode_prompts(config, PROMPTS, template))]
    store = write_store(folder.parent / f"{folder.name}-prompts", encoded, {"fingerprint": "a"})
    part = STAGES[stage](config)
    torch.manual_seed(config.seed)
    model, second = (make_tiny("qwen3", vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=None) for _ in range(2))
    monkeypatch.setattr("luthier.workflows.equip.load_other", lambda *_, **__: second)
    adapter = make_adapter(config, part)
    net = adapter.attach(model.train()).train()
    scorer = Scorer(net, layout=layout)
    set_reference(config, part, scorer, adapter, net, device=CPU, precision=FLOAT32)
    run = Run.create(config)
    run.start()
    respond = Respondent(config, net=net, tokenizer=tokenizer, template=template, rewards=small_numbers, precision=FLOAT32)
    player = PLAYERS[stage](
        config,
        stage=part,
        questions=Questions(store, PROMPTS),
        respond=respond,
        scorer=scorer,
        net=net,
        precision=FLOAT32,
        parallel=Parallel(CPU),
        keep=run.append_sample,
    )
    return Trainer(
        config,
        stage=part,
        model=net,
        adapter=adapter,
        scorer=scorer,
        loader=RolloutLoader(
            Loader(store, samples_per_step=config.per_device_train_batch_size, seed=config.seed), player, config.max_new_tokens
        ),
        evaluations={"eval": respond.examination(Questions(store.subset(np.arange(6)), PROMPTS))},
        run=run,
        callbacks=(),
        parallel=Parallel(CPU),
        precision=FLOAT32,
        micro_batch_tokens=micro_batch_tokens,
        save_model=lambda where: adapter.save(net, where),
        identity={"data": "synthetic"},
        resume_from=newest(run.resume_checkpoints(), {"data": "synthetic"}),
    )


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        ("grpo", {"max_steps": 30}),
        ("grpo", {"max_steps": 20, "num_iterations": 2, "grpo_loss": "dapo"}),
        ("ppo", {"max_steps": 30, "ppo_epochs": 2}),
    ],
)
def test_the_reward_rises(tmp_path, monkeypatch, stage, keys):
    trainer = make_trainer(tmp_path / "run", stage, monkeypatch, lr_scheduler_type="constant", **keys)
    trainer.fit()
    curve = rows(trainer, "rewards/small")
    assert np.mean(curve[:2]) < 0.3
    assert np.mean(curve[-3:]) > 0.8


def test_held_out_prompts_are_answered_greedily(tmp_path, monkeypatch):
    """The evaluation's reward is that of transformers' own greedy answers; the checkpoint with the highest is the best."""
    keys = {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 5, "max_steps": 20}
    trainer = make_trainer(tmp_path / "run", "grpo", monkeypatch, load_best_model_at_end=True, val_size=6, **keys)
    trainer.fit()
    rewards = rows(trainer, "eval_reward")
    assert len(rewards) == 4 and max(rewards) > rewards[0]
    best = trainer.progress.best_step
    assert trainer.progress.best_metric == max(rewards) and best == 5 * (1 + int(np.argmax(rewards)))
    store = trainer.evaluations["eval"].store
    stops = list(find_template(trainer.config, load_tokenizer(trainer.config)).stop_token_ids)
    plain = copy.deepcopy(trainer.model).eval()
    plain.set_attn_implementation("eager")
    answers = []
    for number in range(6):
        prompt = torch.tensor([store.segments(number)[0].input_ids.tolist()])
        settings = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": stops, "pad_token_id": 0}
        whole = plain.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)
        answers.append(whole[0, prompt.shape[1] :].numpy())
    scores, lengths = [20 * np.mean(answer < RIGHT) for answer in answers], [len(answer) for answer in answers]
    found = trainer.evaluate()
    assert found["eval_reward"] == pytest.approx(np.mean(scores)) == max(rewards)
    assert found["eval_completions/mean_length"] == np.mean(lengths)
    assert found["eval_rewards/small"] == pytest.approx(np.mean(scores) / 20)


def test_under_pissa_the_reference_is_the_model_that_the_training_began_with(tmp_path, monkeypatch):
    """PiSSA splits the base, so that disabling the adapter alone would leave another model."""
    trainer = make_trainer(tmp_path / "run", "ppo", monkeypatch, finetuning_type="lora", pissa_init=True, max_steps=2)
    trainer.fit()
    first, second = rows(trainer, "kl")
    assert first == pytest.approx(0.0, abs=1e-4) and abs(second) > 1e-3


class KillAt(Callback):
    def on_step_end(self, progress, metrics):
        if progress.step == 3:
            raise SystemExit("killed")


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        ("grpo", {"num_iterations": 2}),
        (
            "ppo",
            {"ppo_epochs": 2, "ppo_target": 0.01, "ppo_buffer_size": 2, "ppo_whiten_rewards": True, "finetuning_type": "lora"},
        ),
    ],
)
def test_resumed_bits_equal_those_never_killed(tmp_path, monkeypatch, stage, keys):
    keys = keys | {"save_strategy": "steps", "save_steps": 2, "max_steps": 5}
    whole = make_trainer(tmp_path / "whole", stage, monkeypatch, **keys)
    whole.fit()
    cut = make_trainer(tmp_path / "cut", stage, monkeypatch, **keys)
    cut.callbacks = (KillAt(cut.config, cut.run),)
    with pytest.raises(SystemExit):
        cut.fit()
    again = make_trainer(tmp_path / "cut", stage, monkeypatch, resume_from_checkpoint="true", **keys)
    again.fit()
    assert rows(again, "reward") == rows(whole, "reward") and rows(again) == rows(whole)
    samples = whole.run.read_samples()
    assert again.run.read_samples() == samples and [row["step"] for row in samples] == sorted(2 * [1, 2, 3, 4, 5])
    assert all(set(row) == {"step", "prompt", "completion", "reward"} for row in samples)
    assert again.stage.state() == whole.stage.state()
    ends = dict(whole.model.named_parameters())
    assert all(torch.equal(tensor, ends[key]) for key, tensor in again.model.named_parameters())


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        *(("grpo", {"grpo_loss": kind, "grpo_beta": 0.1}) for kind in ("grpo", "dapo", "dr_grpo", "gspo")),
        ("ppo", {"ppo_epochs": 2, "per_device_train_batch_size": 8}),
    ],
)
def test_neither_layout_nor_micro_batches_change_the_curve(tmp_path, monkeypatch, stage, keys):
    """Laws 2 and 3. A small rate, so that rounding does not change which answers are drawn."""
    keys = keys | {"learning_rate": 1e-4, "max_steps": 3, "num_iterations": 2}
    ways = {"at once": {}, "one by one": {"micro_batch_tokens": 1}, "padded": {"micro_batch_tokens": 90, "layout": "padded"}}
    curves = {}
    for way, cut in ways.items():
        trainer = make_trainer(tmp_path / way, stage, monkeypatch, **keys, **cut)
        trainer.fit()
        curves[way] = rows(trainer), rows(trainer, "reward")
    assert len(curves["at once"][0]) == 3
    for loss, reward in curves.values():
        assert loss == pytest.approx(curves["at once"][0], abs=1e-5) and reward == curves["at once"][1]


# ---- PPO by hand ---------------------------------------------------------------------------------------------------------


def test_rewards_of_tokens():
    """-0.2 (log p - log q), and 1.5 at the end."""
    found = token_rewards(np.array([-1.0, -2.0]), np.array([-1.5, -1.0]), 1.5, 0.2)
    assert found == pytest.approx([-0.1, 0.2 + 1.5])


def test_advantages_are_sums_of_discounted_differences():
    """delta_t = r_t + V_(t+1) - V_t; A_t = sum 0.95^k delta_(t+k)"""
    rewards, values = np.array([0.1, -0.2, 1.0]), np.array([0.3, 0.5, 0.4])
    delta = [0.1 + 0.5 - 0.3, -0.2 + 0.4 - 0.5, 1.0 - 0.4]
    expected = [delta[0] + 0.95 * delta[1] + 0.95**2 * delta[2], delta[1] + 0.95 * delta[2], delta[2]]
    assert estimate_advantages(rewards, values) == pytest.approx(expected)


def test_whitened():
    flat = np.concatenate(whitened([np.array([1.0, 2.0]), np.array([6.0])]))
    assert (flat.mean(), flat.std()) == (pytest.approx(0, abs=1e-7), pytest.approx(1, abs=1e-6))
    assert np.concatenate(whitened([np.array([1.0, 2.0, 6.0])], centred=False)).mean() == pytest.approx(3.0)


def test_the_pull_to_the_reference_follows_its_target():
    """Twice the target: the error is clipped to 0.2, 0.2 (1 + 0.2 * 100 / 10000); below it, it falls."""
    stage = STAGES["ppo"](Config(stage="ppo", ppo_target=6.0))
    stage.follow(12.0, 100)
    assert stage.kl_weight == pytest.approx(0.2 * 1.002)
    stage.follow(5.4, 100)
    assert stage.kl_weight == pytest.approx(0.2 * 1.002 * (1 - 0.1 * 0.01))


def test_loss_by_hand():
    """One answer of two tokens: ratios clipped at 1.2, values within 0.2 of the old ones."""
    rollouts = Rollouts([Encoded(segments=(segment(np.array([5, 6]), np.array([7, 8])),))])
    rollouts.notes |= {
        "old_logps": [np.array([-1.0, -2.0])],
        "old_values": [np.array([0.0, 1.0])],
        "advantages": [np.array([1.0, -0.5])],
        "returns": [np.array([1.0, 0.5])],
    }
    (batch,) = rollouts.batches(np.array([0]), 10)

    class Said:
        def hidden(self, batch):
            return torch.arange(4.0)

        def logps(self, states, targets):
            return torch.tensor([-0.5, -2.1]), None

        def head(self, states):
            return torch.tensor([0.5, 0.9])

    policy = -min(np.exp(0.5), 1.2) * 1.0 + 0.5 * np.exp(-0.1)
    value = 0.5 * (max((0.5 - 1) ** 2, (0.2 - 1) ** 2) + (0.9 - 0.5) ** 2)
    found = STAGES["ppo"](Config(stage="ppo")).loss(Said(), batch).total
    assert float(found) == pytest.approx(policy + 0.1 * value, abs=1e-6)
