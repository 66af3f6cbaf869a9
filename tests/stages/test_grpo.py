"""GRPO: its formulas by hand and by TRL, rewards that misbehave, and a model that learns what is rewarded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.stages.bench import samples, segment

from luthier.batches.collate import collate
from luthier.batches.loader import Loader
from luthier.batches.rollouts import RolloutLoader, Rollouts, Round
from luthier.batches.store import write_store
from luthier.config import Config
from luthier.errors import ConfigError, TrainingError
from luthier.stages import STAGES
from luthier.stages.grpo import group_advantages
from luthier.stages.rewards import REWARDS
from luthier.stages.rewards.base import ask, find_reward
from luthier.types import Encoded

ADVANTAGES = [0.7, -1.2, 0.3, 0.2, -0.5]


@pytest.fixture
def batch(tmp_path):
    batch = collate(write_store(tmp_path / "store", samples("sft", 5), {"fingerprint": "x"}), range(5))
    batch.values = torch.tensor(ADVANTAGES, dtype=torch.float64)
    return batch


def drawn(count: int, seed: int) -> torch.Tensor:
    return -torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.1


def said(batch, **keys):
    """(stage's loss, policy log-probabilities, old ones, reference's, output)"""
    count = len(batch.targets)
    policy, old, reference = drawn(count, 0).requires_grad_(), drawn(count, 1), drawn(count, 2)
    batch.notes = {"old_logps": old}

    class Scorer:
        def __call__(self, batch):
            return policy, None

        def reference(self, batch):
            return reference

    output = STAGES["grpo"](Config(stage="grpo", **keys)).loss(Scorer(), batch)
    return output.total, policy, old, reference, output


def by_hand(batch, policy, old, reference, kind, beta, low, high, longest) -> float:
    total = 0.0
    for number in range(5):
        mine = batch.segment_ids == number
        p, o, q, a = policy[mine].tolist(), old[mine].tolist(), reference[mine].tolist(), ADVANTAGES[number]
        mean = sum(x - y for x, y in zip(p, o)) / len(p)
        tokens = []
        for x, y, z in zip(p, o, q):
            ratio = np.exp(mean if kind == "gspo" else x - y)
            loss = -min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)
            tokens.append(loss + beta * (np.exp(z - x) - (z - x) - 1))
        total += {"dapo": sum(tokens), "dr_grpo": sum(tokens) / longest}.get(kind, sum(tokens) / len(tokens))
    return total


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_loss_is_the_formula(batch, kind, beta):
    keys = {"grpo_loss": kind, "grpo_beta": beta, "grpo_epsilon": 0.1, "grpo_epsilon_high": 0.28, "max_new_tokens": 16}
    found, *logps, output = said(batch, **keys)
    assert found.item() == pytest.approx(by_hand(batch, *logps, kind, beta, 0.1, 0.28, 16), abs=1e-9)
    assert 0 < float(output.metrics["clip_ratio"][0]) < len(batch.targets)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_loss_is_trls(batch, kind):
    from collections import defaultdict
    from unittest.mock import MagicMock

    from trl.trainer.grpo_trainer import GRPOTrainer

    found, policy, old, reference, _ = said(batch, grpo_loss=kind, grpo_beta=0.04, max_new_tokens=16)
    counts = torch.bincount(batch.segment_ids).tolist()
    pad = lambda x: torch.nn.utils.rnn.pad_sequence(x.split(counts), batch_first=True)  # noqa: E731
    mask = pad(torch.ones(len(batch.targets))).long()
    accelerator = MagicMock(num_processes=1, device="cpu")
    accelerator.gather = lambda x: x
    fake = SimpleNamespace(
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        _get_per_token_logps_and_entropies=lambda *_, **__: (pad(policy), torch.zeros(mask.shape), None),
        top_entropy_quantile=1.0,
        beta=0.04,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        importance_sampling_level="sequence" if kind == "gspo" else "token",
        loss_type="grpo" if kind == "gspo" else kind,
        epsilon_low=0.2,
        epsilon_high=0.2,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        off_policy_mask_threshold=None,
        max_completion_length=16,
        current_gradient_accumulation_steps=1,
        _metrics={"train": defaultdict(list)},
        tools=None,
        aux_loss_enabled=False,
        use_liger_kernel=False,
        _entropy_bonus_enabled=False,
    )
    inputs = {
        "prompt_ids": torch.zeros(5, 1).long(),
        "prompt_mask": torch.ones(5, 1).long(),
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": batch.values,
        "old_per_token_logps": pad(old),
        "ref_per_token_logps": pad(reference),
        "num_items_in_batch": mask.sum(),
    }
    theirs = GRPOTrainer._compute_loss(fake, None, inputs)
    units = len(batch.targets) if kind == "dapo" else 5
    torch.testing.assert_close(found / units, theirs, rtol=0, atol=1e-6)


def test_advantages_by_hand():
    """[1, 0, 0, 1]: mean 0.5, standard deviation 0.57735; a group of equals teaches nothing."""
    found = group_advantages(np.array([1.0, 0, 0, 1, 3, 3, 3, 3]), 4, scaled=True)
    assert found == pytest.approx([0.5 / 0.57745, -0.5 / 0.57745, -0.5 / 0.57745, 0.5 / 0.57745, 0, 0, 0, 0], abs=1e-5)
    assert group_advantages(np.array([1.0, 0, 0, 1]), 4, scaled=False).tolist() == [0.5, -0.5, -0.5, 0.5]


# ---- rewards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "answer", "reference", "reward"),
    [
        ("exact_answer", "Then 3 + 4 = 7.", "7", 1),
        ("exact_answer", "<think>maybe 7</think> It is 8", "#### 7", 0),
        ("exact_answer", r"so \boxed{1,024}", "1024", 1),
        ("exact_answer", "Paris ", "Paris", 1),
        ("exact_answer", "Paris", None, 0),
        ("format", "<think>hm</think>\nYes.", None, 1),
        ("format", "<think>hm</think>", None, 0),
        ("format", "<think></think> Yes.", None, 0),
        ("format", "Yes.", None, 0),
        ("length", "x" * 30, "x" * 20, 0.5),
        ("length", "x" * 10, "x" * 20, 1),
        ("length", "x" * 900, None, 0),
        ("tool_call", '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', '{"name": "f", "arguments": {"a": 1}}', 1),
        ("tool_call", '{"name": "f", "arguments": {"a": 2}}', '{"name": "f", "arguments": {"a": 1}}', 0.5),
        (
            "tool_call",
            '{"name": "f", "arguments": "{\\"a\\": \\"New York\\"}"}',
            '{"name": "f", "arguments": {"a": "new york"}}',
            1,
        ),
        ("tool_call", '{"name": "f", "arguments": [1]}', '{"name": "f", "arguments": {}}', 0),
        ("tool_call", "no call", '{"name": "f", "arguments": {}}', 0),
        ("tool_call", '{"name": "f", "arguments": {}}', 'I look it up.\n{"name": "f", "arguments": {}}', 1),
        ("tool_call", "no call", "none is wanted", 1),
    ],
)
def test_bundled_rewards(name, answer, reference, reward):
    assert ask(REWARDS[name], name, [[]], [answer], {"reference": [reference]}) == [reward]


TRUTH = [{"play": {"artist": ["Maroon 5"], "minutes": [15, "15"], "shuffle": [False, ""]}}]


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ('{"name": "play", "arguments": {"artist": "Maroon 5", "minutes": 15}}', 1),
        ('{"name": "play", "arguments": {"artist": "maroon-5", "minutes": 15}}', 1),
        ('{"name": "play", "arguments": {"artist": "Maroon 5", "minutes": 15, "shuffle": 0}}', 0.5),
        ('{"name": "play", "arguments": {"artist": "Maroon 5", "minutes": 20}}', 0.5),
        ('{"name": "play", "arguments": {"artist": "Maroon 5"}}', 0.5),
        ('{"name": "play", "arguments": {"artist": "Maroon 5", "minutes": 15, "loud": true}}', 0.5),
        ('{"name": "stop", "arguments": {}}', 0),
        ("It is negative.", 0),
    ],
)
def test_calls_are_scored_by_the_values_that_are_right(answer, reward):
    columns = {"reference": [None], "ground_truth": [TRUTH]}
    assert ask(REWARDS["tool_call"], "tool_call", [[]], [answer], columns) == [reward]


def test_calls_are_held_to_the_types_of_the_functions_that_were_offered():
    """ "15" is right by its value, "15.0" would be no text's; without the functions nothing says so."""
    answer = '<tool_call>{"name": "play", "arguments": {"minutes": 15}}</tool_call>'
    columns = {"reference": [None, None], "ground_truth": [[{"play": {"minutes": [15.0]}}]] * 2}
    whole = {"name": "play", "parameters": {"properties": {"minutes": {"type": "string"}}}}
    columns["tools"] = [(whole,), ()]
    assert ask(REWARDS["tool_call"], "tool_call", [[], []], [answer, answer], columns) == [0.5, 1.0]


def test_calls_cannot_be_scored_by_nothing():
    with pytest.raises(TrainingError, match="neither a given answer nor a column ground_truth"):
        ask(REWARDS["tool_call"], "tool_call", [[]], ["no call"], {"reference": [None]})


def test_own_functions_by_file_and_module(tmp_path):
    (tmp_path / "mine.py").write_text("def good(prompts, completions, **_):\n    return [len(c) for c in completions]\n")
    function = find_reward(f"{tmp_path}/mine.py:good")
    assert ask(function, "good", [[], []], ["a", "bb"], {}) == [1.0, 2.0]
    assert find_reward("luthier.stages.rewards.exact:exact_answer") is find_reward("exact_answer")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exact_anser", 'Did you mean "exact_answer"'),
        ("nowhere.py:f", "no file"),
        ("json:nothing", "has no function nothing"),
        ("no_such_package.f", "cannot be imported"),
    ],
)
def test_functions_that_are_not_there(name, said):
    with pytest.raises(ConfigError, match=said):
        find_reward(name)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda **_: [1.0], "returned 1 rewards for 2 answers"),
        (lambda **_: None, "returned a NoneType for 2 answers"),
        (lambda **_: [1.0, float("nan")], "returned nan for answer 1"),
        (lambda **_: [1.0, "good"], "returned 'good' for answer 1"),
        (lambda **_: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_functions_that_misbehave(function, said):
    with pytest.raises(TrainingError, match=said):
        ask(function, "mine", [[], []], ["a", "b"], {})


# ---- rounds ------------------------------------------------------------------------------------------------------------


def test_a_round_is_chosen_as_a_loader_chooses_and_keeps_its_notes(tmp_path):
    prompts = Loader(write_store(tmp_path / "store", samples("sft", 6), {"fingerprint": "x"}), samples_per_step=2, seed=1)
    chosen = []

    def play(numbers, step):
        chosen.append((step, numbers.tolist()))
        answered = [Encoded(segments=(segment(np.array([5]), np.array([6, 7 + k])),), value=k) for k in range(4)]
        notes = {"old_logps": [np.array([k, k + 0.5]) for k in range(4)]}
        return Round(rollouts=Rollouts(answered, notes), updates=[np.arange(4), np.array([2, 0])], metrics={"reward": (1, 2)})

    loader = RolloutLoader(prompts, play, longest=8)
    assert loader.store.lengths.tolist() == (prompts.store.lengths + 8).tolist()
    step = loader.step(1)
    assert chosen == [(1, prompts.step(1).samples.tolist())]
    assert (step.tokens, step.supervised, step.metrics, len(step.parts)) == (12, 8, {"reward": (1, 2)}, 2)
    (batch,) = loader.batches(step.parts[1], max_tokens=100)
    assert batch.notes["old_logps"].tolist() == [2, 2.5, 0, 0.5] and batch.values.tolist() == [2, 0]
