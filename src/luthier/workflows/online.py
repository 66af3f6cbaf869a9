"""Stages that learn from the model's own answers: prompts -> answers -> rewards -> advantages -> a round of training.

The answers are drawn by Luthier's own engine from the model as it is at that step; every random number follows from seed, step,
prompt and number of the answer, so that a resumed training draws the same ones.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from luthier.batches.rollouts import Rollouts, Round
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.engines.base import Sampling
from luthier.engines.hf import HFEngine
from luthier.models.dropout import disable_dropout
from luthier.stages.grpo import group_advantages
from luthier.stages.rewards.base import RewardFunction, ask, find_reward
from luthier.stages.sft import segment_of
from luthier.types import Encoded, Prompt, Turn

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from luthier.batches.views import Tokens
    from luthier.models.score import Scorer
    from luthier.runtime.precision import Precision
    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

ONLINE = ("grpo",)
"""Stages that learn from answers drawn on the way."""

SHOWN = 300
"""Characters of an answer that is shown as the training goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """tokens: with its end-of-turn, where it ended by itself.  text: as a reader sees it, special tokens kept."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str
    finished: bool


class Rewards:
    """The functions of reward_funcs with their weights. Made before anything is loaded, so that a wrong name ends the run early."""

    def __init__(self, config: Config):
        names = config.reward_funcs or []
        self._functions: list[tuple[str, RewardFunction]] = [(name, find_reward(name)) for name in names]
        self._weights = config.reward_weights or [1.0] * len(names)

    def __call__(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> tuple[np.ndarray, dict[str, float]]:
        """The weighted sum of each answer, (answers,) float64, and the mean of each function by "rewards/<name>"."""
        asked = [[{"role": m.role, "content": m.content} for m in prompt.conversation.messages] for prompt in prompts]
        keys = sorted({key for prompt in prompts for key in prompt.columns} - {"prompts", "completions", "reference"})
        columns: dict[str, list[Any]] = {key: [prompt.columns.get(key) for prompt in prompts] for key in keys}
        columns["reference"] = [prompt.reference for prompt in prompts]
        texts = [answer.text for answer in answers]
        total, means = np.zeros(len(answers)), {}
        for (name, function), weight in zip(self._functions, self._weights):
            rewards = np.array(ask(function, name, asked, texts, columns))
            total += weight * rewards
            means[f"rewards/{name.rpartition(':')[2]}"] = float(rewards.mean())
        return total, means


class Player:
    """Plays one step of GRPO: num_generations answers to each prompt, judged against one another."""

    def __init__(
        self,
        config: Config,
        *,
        data: Tokens,
        rewards: Rewards,
        scorer: Scorer,
        net: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        precision: Precision,
        device: torch.device,
    ):
        self._config, self._data, self._rewards, self._scorer = config, data, rewards, scorer
        self._precision, self._device = precision, device
        self._stop = template.stop_token_ids[0]
        self._engine = HFEngine(net, tokenizer, template.stop_token_ids)
        self._prompts = list(read_samples(config, wants=Prompt))
        if largest := disable_dropout(net):
            logger.warning("dropout (%g) is off: answers are drawn and learned by the same network.", largest)

    def __call__(self, chosen: np.ndarray, step: int) -> Round:
        config, count = self._config, self._config.num_generations
        asked = np.repeat(chosen, count)
        answers = self._draw(asked, step)
        total, means = self._rewards([self._prompts[int(self._data.rows[number])] for number in asked], answers)
        advantages = group_advantages(total, count, scaled=config.grpo_loss != "dr_grpo")
        encoded = [
            Encoded(segments=(segment_of([Turn(prompt=answer.prompt, answer=answer.tokens)]),), value=float(value))
            for answer, value in zip(answers, advantages)
        ]
        rollouts = Rollouts(encoded)
        if config.num_iterations > 1:
            rollouts.notes["old_logps"] = self._said(rollouts)
        self._show(step, answers, total)
        everything = np.arange(len(rollouts))
        return Round(
            rollouts=rollouts,
            updates=[everything] * config.num_iterations,
            metrics=_metrics(answers, total.reshape(-1, count), means),
        )

    def _draw(self, asked: np.ndarray, step: int) -> list[Answer]:
        prompts = [tuple(int(id) for id in self._data.segments(int(number))[0].input_ids) for number in asked]
        samplings = [
            sampling_of(self._config, _seed(self._config.seed, step, int(number), place)) for place, number in enumerate(asked)
        ]
        answers: dict[int, Answer] = {}
        with self._precision.context():
            for done in self._engine.generate(prompts, samplings):
                finished = done.finish_reason == "stop"
                tokens = (*done.ids, self._stop) if finished or not done.ids else tuple(done.ids)
                answers[done.index] = Answer(prompt=prompts[done.index], tokens=tokens, text=done.text, finished=finished)
        return [answers[place] for place in range(len(prompts))]

    @torch.no_grad()
    def _said(self, rollouts: Rollouts) -> list[np.ndarray]:
        """The log-probabilities of the answers' tokens now, before the first update."""
        longest = int(rollouts.lengths.max())
        budget = self._config.micro_batch_tokens or max(longest, 4096)
        found: dict[int, np.ndarray] = {}
        for number in range(len(rollouts)):  # one by one: what is noted must not depend on how micro-batches are cut
            (batch,) = rollouts.batches(np.array([number]), budget, self._device)
            with self._precision.context():
                found[number] = self._scorer(batch)[0].float().cpu().numpy()
        return [found[number] for number in range(len(rollouts))]

    def _show(self, step: int, answers: Sequence[Answer], total: np.ndarray) -> None:
        every = max(1, int(self._config.logging_steps))
        if step % every == 0:
            best = int(total.argmax())
            logger.info("step %d, reward %.3g: %s", step + 1, total[best], answers[best].text[:SHOWN].replace("\n", " "))


def sampling_of(config: Config, seed: int) -> Sampling:
    """As the config says; what it leaves open is the model's own distribution, which is what the loss assumes."""
    drawn = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    chosen = {key: getattr(config, key) for key in drawn if key in config.model_fields_set}
    return Sampling(do_sample=True, max_new_tokens=config.max_new_tokens, seed=seed, **(drawn | chosen))


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())


def _metrics(answers: Sequence[Answer], groups: np.ndarray, means: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """groups: (prompts, answers of each) rewards."""
    spread = groups.std(1, ddof=1)
    return {
        "reward": (float(groups.sum()), float(groups.size)),
        "reward_std": (float(spread.sum()), float(len(spread))),
        "frac_reward_zero_std": (float((spread == 0).sum()), float(len(spread))),
        "completions/mean_length": (float(sum(len(answer.tokens) for answer in answers)), float(len(answers))),
        "completions/clipped_ratio": (float(sum(not answer.finished for answer in answers)), float(len(answers))),
        **{name: (mean, 1.0) for name, mean in means.items()},
    }
