"""Conversations answered for a benchmark: greedy unless the user asks for sampling, with a bar.

A prompt that is longer than the model's context gets an empty answer, and a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from luthier.config import Config
from luthier.engines.base import Sampling
from luthier.engines.runner import context_length
from luthier.models.score import base_of
from luthier.runtime.progress import progress_bars
from luthier.types import Conversation, Message
from luthier.workflows.answering import Answerer, sampling_of

log = logging.getLogger(__name__)


def answers_to(answerer: Answerer, conversations: Sequence[Conversation]) -> list[Message]:
    """The model's answer to each, its tool calls read."""
    config = answerer.config
    prompts = [answerer.template.encode_prompt(conversation) for conversation in conversations]
    longest = context_length(base_of(answerer.net).config) if answerer.net is not None else None
    fitting = [number for number, prompt in enumerate(prompts) if longest is None or len(prompt) < longest]
    if len(fitting) < len(prompts):
        log.warning("%d of %d prompts fill the model's context of %d tokens: they get no answer.",
                    len(prompts) - len(fitting), len(prompts), longest)  # fmt: skip
    answers: dict[int, Message] = {}
    with progress_bars(config.disable_tqdm or False) as bars:
        bar = bars.add("answers", len(fitting))
        for completion in answerer.engine.generate([prompts[number] for number in fitting], exact_sampling(config)):
            number = fitting[completion.index]
            answers[number] = answerer.template.parse(completion.text, conversations[number].tools)
            bar.update(len(answers))
        bar.close()
    return [answers.get(number, Message(role="assistant")) for number in range(len(prompts))]


def exact_sampling(config: Config) -> Sampling:
    """The generation keys; without do_sample in the config the answers are greedy, so that marks can be repeated."""
    sampling = sampling_of(config)
    if "do_sample" not in config.model_fields_set:
        return replace(sampling, do_sample=False)
    return replace(sampling, seed=config.seed) if not sampling.greedy else sampling
