"""Stages that learn from the model's own answers: prompts -> answers -> rewards -> advantages -> a round of training.

The answers are drawn by Luthier's own engine from the model as it is at that step; every random number follows from seed, step,
prompt and number of the answer, so that a resumed training draws the same ones.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from luthier.batches.rollouts import Rollouts, Round
from luthier.config import Config
from luthier.engines.base import Sampling
from luthier.models.dropout import disable_dropout
from luthier.stages.grpo import group_advantages
from luthier.stages.ppo import estimate_advantages, token_rewards, whitened
from luthier.workflows.respond import Answer, Questions, Respondent, rollouts_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from luthier.models.score import Scorer
    from luthier.runtime.precision import Precision
    from luthier.stages.base import Stage
    from luthier.trainer.parallel import Parallel
    from luthier.types import Batch

logger = logging.getLogger(__name__)

SHOWN = 300
"""Characters of an answer that is shown as the training goes on."""


class Player:
    """Draws answers from the model and has them judged; what a stage makes of that is its subclass's."""

    num_answers = 1

    def __init__(
        self,
        config: Config,
        *,
        stage: Stage,
        questions: Questions,
        respond: Respondent,
        scorer: Scorer,
        net: nn.Module,
        precision: Precision,
        parallel: Parallel,
        keep: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ):
        self._config, self._stage, self._questions, self._respond, self._scorer = config, stage, questions, respond, scorer
        self._precision, self._parallel, self._device = precision, parallel, parallel.device
        self._keep = keep
        if largest := disable_dropout(net):
            logger.warning("dropout (%g) is off: answers are drawn and learned by the same network.", largest)

    def __call__(self, chosen: np.ndarray, step: int) -> Round:
        """Each device answers its share of the prompts and has that judged; then all of them know all answers."""
        asked = np.repeat(chosen, self.num_answers)
        places = np.arange(len(asked)).reshape(-1, self.num_answers)
        mine = np.array_split(places, self._parallel.world_size)[self._parallel.rank].ravel()
        judged = self._respond(self._questions, asked[mine], [self._sampling(step, asked[place], place) for place in mine])
        answers, total = self._parallel.gather(judged.answers), np.array(self._parallel.gather(judged.rewards))
        rollouts = rollouts_of(answers)
        self._show(step, asked, answers, total)
        metrics = self._parallel.sum_named(judged.sums) | self._judge(rollouts, total)
        return Round(rollouts=rollouts, updates=self._updates(len(rollouts), step), metrics=metrics)

    def _sampling(self, step: int, question: int, place: int) -> Sampling:
        """place: the number of the answer among those of all devices; what is drawn follows from it."""
        return sampling_of(self._config, _seed(self._config.seed, step, int(question), int(place)))

    def _judge(self, rollouts: Rollouts, total: np.ndarray) -> dict[str, tuple[float, float]]:
        """Write advantages into rollouts, and return metrics. total: (rollouts,) rewards."""
        raise NotImplementedError

    def _updates(self, count: int, step: int) -> list[np.ndarray]:
        """The rollouts of each optimizer update."""
        raise NotImplementedError

    @torch.no_grad()
    def _noted(self, rollouts: Rollouts, say: Callable[[Batch], Tensor]) -> list[np.ndarray]:
        """What `say` says of the answers' tokens now, before the first update; one answer at a time, so that it does not
        depend on how micro-batches are cut. Each device asks for its share."""
        notes = []
        for number in np.array_split(np.arange(len(rollouts)), self._parallel.world_size)[self._parallel.rank]:
            (batch,) = rollouts.batches(np.array([number]), int(rollouts.lengths.max()), self._device)
            with self._precision.context():
                notes.append(say(batch).float().cpu().numpy())
        return self._parallel.gather(notes)

    def _show(self, step: int, asked: np.ndarray, answers: Sequence[Answer], total: np.ndarray) -> None:
        """Every logging_steps: the best answer goes to the log, the best and the worst go into the run folder."""
        if step % max(1, int(self._config.logging_steps)) or not self._parallel.is_main:
            return
        best, worst = int(total.argmax()), int(total.argmin())
        logger.info("step %d, reward %.3g: %s", step + 1, total[best], answers[best].text[:SHOWN].replace("\n", " "))
        for number in dict.fromkeys((best, worst)):
            prompt = self._questions.sample(int(asked[number])).conversation.messages[-1].content
            self._keep({"step": step + 1, "prompt": prompt, "completion": answers[number].text, "reward": float(total[number])})


class GroupPlayer(Player):
    """GRPO: num_generations answers to each prompt, judged against one another."""

    def __init__(self, config: Config, **parts: Any):
        super().__init__(config, **parts)
        self.num_answers = config.num_generations

    def _judge(self, rollouts: Rollouts, total: np.ndarray) -> dict[str, tuple[float, float]]:
        count = self.num_answers
        rollouts.values = group_advantages(total, count, scaled=self._config.grpo_loss != "dr_grpo")
        if self._config.num_iterations > 1:
            rollouts.notes["old_logps"] = self._noted(rollouts, lambda batch: self._scorer(batch)[0])
        spread = total.reshape(-1, count).std(1, ddof=1)
        return {
            "reward_std": (float(spread.sum()), float(len(spread))),
            "frac_reward_zero_std": (float((spread == 0).sum()), float(len(spread))),
        }

    def _updates(self, count: int, step: int) -> list[np.ndarray]:
        return [np.arange(count)] * self._config.num_iterations


class ProximalPlayer(Player):
    """PPO: one answer to each prompt, rewarded at its end and for staying near the reference at each token."""

    def _judge(self, rollouts: Rollouts, total: np.ndarray) -> dict[str, tuple[float, float]]:
        config, stage, scorer = self._config, self._stage, self._scorer
        old = self._noted(rollouts, lambda batch: scorer(batch)[0])
        reference = self._noted(rollouts, lambda batch: scorer.reference(batch))
        values = self._noted(rollouts, lambda batch: scorer.head(scorer.hidden(batch)[batch.positions]))
        scores = whitened([total])[0] if config.ppo_score_norm else total
        rewards = [token_rewards(o, r, float(s), stage.kl_weight) for o, r, s in zip(old, reference, scores)]
        if config.ppo_whiten_rewards:
            rewards = whitened(rewards, centred=False)
        advantages = [estimate_advantages(r, v) for r, v in zip(rewards, values)]
        rollouts.notes |= {
            "old_logps": old,
            "old_values": values,
            "advantages": whitened(advantages),
            "returns": [a + v for a, v in zip(advantages, values)],
        }
        kl = float(np.mean([(o - r).sum() for o, r in zip(old, reference)]))
        weight = stage.kl_weight
        stage.follow(kl, len(old))
        return {"kl": (kl * len(old), float(len(old))), "kl_weight": (weight, 1.0)}

    def _updates(self, count: int, step: int) -> list[np.ndarray]:
        """ppo_epochs times all answers, in an order of its own each time, in ppo_buffer_size parts."""
        config = self._config
        draw = np.random.Generator(np.random.PCG64([config.seed, step]))
        orders = [draw.permutation(count) for _ in range(config.ppo_epochs)]
        return [part for order in orders for part in np.array_split(order, min(config.ppo_buffer_size, count))]


PLAYERS = {"grpo": GroupPlayer, "ppo": ProximalPlayer}
"""Stages that learn from answers drawn on the way."""


def sampling_of(config: Config, seed: int) -> Sampling:
    """As the config says; what it leaves open is the model's own distribution, which is what the loss assumes."""
    drawn = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    chosen = {key: getattr(config, key) for key in drawn if key in config.model_fields_set}
    return Sampling(do_sample=True, max_new_tokens=config.max_new_tokens, seed=seed, **(drawn | chosen))


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())
