"""What an answer is worth: Python functions by name, a reward model, or a server that scores texts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from luthier.adapters import ADAPTERS
from luthier.batches.rollouts import Rollouts
from luthier.config import Config
from luthier.errors import TrainingError
from luthier.hub import resolve_adapter, resolve_model
from luthier.models.heads import ModelWithHead, ValueHead
from luthier.models.load import load_model
from luthier.models.score import Scorer
from luthier.stages.reward import end_scores
from luthier.stages.rewards.base import RewardFunction, ask, find_reward
from luthier.types import Prompt

if TYPE_CHECKING:
    from luthier.runtime.precision import Precision
    from luthier.workflows.respond import Answer

AT_ONCE = 8192
"""Tokens that go through a reward model at once."""


class Rewards:
    """The functions of reward_funcs with their weights, and what `model` scores. Made before anything is loaded: a wrong name
    ends the run early. model: answers, rollouts -> scores; set when it is loaded."""

    def __init__(self, config: Config):
        names = config.reward_funcs or []
        self._functions: list[tuple[str, RewardFunction]] = [(name, find_reward(name)) for name in names]
        self._weights = config.reward_weights or [1.0] * len(names)
        self.model: RewardModel | RewardServer | None = None

    def __call__(
        self, prompts: Sequence[Prompt], answers: Sequence[Answer], rollouts: Rollouts
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The weighted sum of each answer, (answers,) float64, and the mean of each part by "rewards/<name>"."""
        parts = self._of_functions(prompts, [answer.text for answer in answers])
        if self.model is not None:
            parts["rewards/model"] = self.model(answers, rollouts)
        return np.sum(list(parts.values()), axis=0), {name: float(scores.mean()) for name, scores in parts.items()}

    def try_out(self, prompt: Prompt, count: int) -> None:
        """Ask the functions about count answers to one prompt, all of them the given answer (or none), so that one that raises
        or miscounts is found before a model is loaded. Raises TrainingError."""
        self._of_functions([prompt] * count, [prompt.reference or ""] * count)

    def _of_functions(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> dict[str, np.ndarray]:
        asked = [[{"role": m.role, "content": m.content} for m in prompt.conversation.messages] for prompt in prompts]
        keys = sorted({key for prompt in prompts for key in prompt.columns} - {"prompts", "completions", "reference"})
        columns: dict[str, list[Any]] = {key: [prompt.columns.get(key) for prompt in prompts] for key in keys}
        columns["reference"] = [prompt.reference for prompt in prompts]
        if any(prompt.conversation.tools for prompt in prompts):
            columns["tools"] = [prompt.conversation.tools for prompt in prompts]
        return {
            f"rewards/{name.rpartition(':')[2]}": weight * np.array(ask(function, name, asked, texts, columns))
            for (name, function), weight in zip(self._functions, self._weights)
        }


class RewardModel:
    """A model with its head, as stage rm wrote it: a score at the last token of each answer."""

    def __init__(self, scorer: Scorer, device: torch.device, precision: Precision):
        self._scorer, self._device, self._precision = scorer.eval().requires_grad_(False), device, precision

    @torch.no_grad()
    def __call__(self, answers: Sequence[Answer], rollouts: Rollouts) -> np.ndarray:
        scores = np.zeros(len(rollouts))
        for number in range(len(rollouts)):
            (batch,) = rollouts.batches(np.array([number]), AT_ONCE, self._device)
            with self._precision.context():
                scores[number] = float(end_scores(self._scorer, batch)[0])
        return scores


class RewardServer:
    """LLaMA-Factory's protocol: POST {"model", "messages": [texts]} -> {"scores": [numbers]}."""

    def __init__(self, url: str, decode: Any):
        self._url, self._decode = url, decode

    def __call__(self, answers: Sequence[Answer], rollouts: Rollouts) -> np.ndarray:
        texts = [self._decode([*answer.prompt, *answer.tokens]) for answer in answers]
        body = json.dumps({"model": "model", "messages": texts}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                scores = json.load(reply)["scores"]
            found = np.array([float(score) for score in scores])
        except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"reward_model {self._url} gave no scores: {type(error).__name__}: {error}") from error
        if found.shape != (len(texts),):
            raise TrainingError(f"reward_model {self._url} gave {len(found)} scores for {len(texts)} texts.")
        return found


def load_reward_model(
    config: Config, decode: Any, *, device: torch.device, precision: Precision
) -> RewardModel | RewardServer | None:
    """reward_model as reward_model_type says: lora (an adapter and its head on the model that learns), full (a model and its
    head), api (an address). None where none is named."""
    if config.reward_model is None:
        return None
    if config.reward_model_type == "api":
        return RewardServer(config.reward_model, decode)
    if config.reward_model_type == "lora":
        base, adapters = config.model_name_or_path, [config.reward_model]
        folder = resolve_adapter(config.reward_model, config)
    else:
        base, adapters = config.reward_model, config.reward_model_adapters
        folder = resolve_adapter(adapters[-1], config) if adapters else resolve_model(config.reward_model, config)
    other = config.model_copy(
        update={
            "model_name_or_path": base,
            "adapter_name_or_path": adapters,
            "quantization_bit": config.reward_model_quantization_bit,
            "train_from_scratch": False,
        }
    )
    model = load_model(other, device=device, dtype=precision.param_dtype)
    net = ADAPTERS["lora"](other).attach(model, trainable=False) if adapters else model
    head = ValueHead(model.config.get_text_config().hidden_size).to(device)
    head.load(folder)
    scorer = Scorer(ModelWithHead(net, head))
    return RewardModel(scorer, device, precision)
