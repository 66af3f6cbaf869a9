"""Questions -> answers of the model as it is -> rewards: for stages that learn from their own answers, and to measure them.

The engine is Luthier's own; each answer follows from its prompt and its Sampling alone, however many are asked at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.batches.rollouts import AnswerLoader, Rollouts
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.engines.base import Sampling
from luthier.engines.hf import HFEngine
from luthier.models.heads import ModelWithHead
from luthier.stages.sft import segment_of
from luthier.types import Encoded, Prompt, Turn

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from luthier.batches.views import Tokens
    from luthier.runtime.precision import Precision
    from luthier.templates.base import Template
    from luthier.workflows.rewarding import Rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """tokens: with its end-of-turn, where it ended by itself.  text: as a reader sees it, special tokens kept."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Questions:
    """Encoded prompts, and the samples that they were made of."""

    tokens: Tokens
    samples: Sequence[Prompt]

    @classmethod
    def read(cls, config: Config, tokens: Tokens, names: Sequence[str] | None = None) -> Questions:
        """tokens: of these datasets (None: config.dataset), or a part of them."""
        return cls(tokens, list(read_samples(config, names, wants=Prompt)))

    def sample(self, number: int) -> Prompt:
        return self.samples[int(self.tokens.rows[number])]

    def ids(self, number: int) -> tuple[int, ...]:
        return tuple(self.tokens.segments(number)[0].input_ids.tolist())


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers and the reward of each.  sums: name -> (sum, count), of rewards, their parts, and what the answers are like."""

    answers: list[Answer]
    rewards: list[float]
    sums: Mapping[str, tuple[float, float]]


class Respondent:
    """net: the model that is asked, or one with a head on top."""

    def __init__(
        self,
        config: Config,
        *,
        net: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        rewards: Rewards,
        precision: Precision,
    ):
        self._config, self._rewards, self._precision = config, rewards, precision
        self._stop = template.stop_token_ids[0]
        asked = net.model if isinstance(net, ModelWithHead) else net
        self._engine = HFEngine(asked, tokenizer, template.stop_token_ids)

    def __call__(self, questions: Questions, asked: Sequence[int], samplings: Sequence[Sampling]) -> Judged:
        """asked: numbers of the questions, each as often as it is to be answered; one sampling for each."""
        if not len(asked):
            return Judged([], [], {})
        answers = self._draw([questions.ids(number) for number in asked], samplings)
        rewards, means = self._rewards([questions.sample(number) for number in asked], answers, rollouts_of(answers))
        count = float(len(answers))
        sums = {
            "reward": (float(rewards.sum()), count),
            "completions/mean_length": (float(sum(len(answer.tokens) for answer in answers)), count),
            "completions/clipped_ratio": (float(sum(not answer.finished for answer in answers)), count),
            **{name: (mean * count, count) for name, mean in means.items()},
        }
        return Judged(answers, rewards.tolist(), sums)

    def _draw(self, prompts: Sequence[tuple[int, ...]], samplings: Sequence[Sampling]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        with self._precision.context():
            for done in self._engine.generate(prompts, samplings):
                finished = done.finish_reason == "stop"
                tokens = (*done.ids, self._stop) if finished or not done.ids else tuple(done.ids)
                answers[done.index] = Answer(prompt=prompts[done.index], tokens=tokens, text=done.text, finished=finished)
        return [answers[place] for place in range(len(prompts))]

    def examine(self, held_out: Mapping[str, Tokens]) -> dict[str, AnswerLoader]:
        """held_out, as workflows/train.datasets gives it, each set to be answered greedily."""
        names = self._config.eval_dataset
        each = self._config.eval_on_each_dataset
        return {
            name: self.examination(Questions.read(self._config, tokens, [name] if each and names else names))
            for name, tokens in held_out.items()
        }

    def examination(self, questions: Questions) -> AnswerLoader:
        """These questions, answered greedily."""
        greedy = Sampling(do_sample=False, max_new_tokens=self._config.max_new_tokens)
        return AnswerLoader(questions.tokens, lambda asked: self(questions, asked, [greedy] * len(asked)).sums)


def rollouts_of(answers: Sequence[Answer]) -> Rollouts:
    return Rollouts([Encoded(segments=(segment_of([Turn(prompt=a.prompt, answer=a.tokens)]),)) for a in answers])
