"""Beam search: transformers' own, in batches of prompts of like length. It has no slots, so nothing joins a batch under way.

Enters: Requests with num_beams > 1. Leaves: their outboxes filled, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from luthier.engines.base import Sampling
from luthier.engines.request import Request
from luthier.engines.runner import Runner
from luthier.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = 16384
"""Prompt and answer tokens of all beams of one batch."""


def search(
    runner: Runner, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Request], stop_ids: Sequence[int]
) -> Iterator[int]:
    """Answer every request; yields the number of requests answered after each batch. The runner has to be entered."""
    for request in requests:
        _check(request.sampling)
    for batch in _batches(requests):
        sampling = batch[0].sampling
        longest = max(request.num_tokens for request in batch)
        pads = [longest - request.num_tokens for request in batch]
        rows = [[0] * pad + request.prompt for pad, request in zip(pads, batch)]
        mask = [[0] * pad + [1] * request.num_tokens for pad, request in zip(pads, batch)]
        options = {"stop_strings": list(sampling.stop), "tokenizer": tokenizer} if sampling.stop else {}
        if batch[0].adapter is not None:
            options["adapter_names"] = [batch[0].adapter] * len(batch)
        with torch.no_grad(), torch.random.fork_rng(enabled=sampling.seed is not None):
            if sampling.seed is not None:
                torch.manual_seed(sampling.seed)
            answers = runner.model.generate(
                input_ids=torch.tensor(rows, device=runner.device),
                attention_mask=torch.tensor(mask, device=runner.device),
                generation_config=_generation_config(batch, stop_ids),
                **options,
            )
        for request, answer in zip(batch, answers[:, longest:].tolist()):
            _deliver(request, answer, stop_ids)
        yield len(batch)


def _check(sampling: Sampling) -> None:
    for name, off in (
        ("presence_penalty", 0), ("frequency_penalty", 0), ("logprobs", None), ("logit_bias", ()), ("grammar", None)
    ):  # fmt: skip
        if getattr(sampling, name) != off:
            raise EngineError(
                f"{name} cannot be had with num_beams {sampling.num_beams}.", "Set num_beams: 1, or leave it out."
            )


def _batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Longest prompts first. One batch has one sampling, one adapter and one limit; with a seed it has one request, so that
    nothing beside it changes what it draws."""
    batch: list[Request] = []
    for request in sorted(requests, key=lambda request: -request.num_tokens):
        if batch:
            first = batch[0]
            size = (len(batch) + 1) * first.sampling.num_beams * (first.num_tokens + first.limit)
            alike = (request.sampling, request.adapter, request.limit) == (first.sampling, first.adapter, first.limit)
            # transformers 5.17 also penalises the token that pads (5.23 does not), so then nothing is padded
            alike &= first.sampling.repetition_penalty == 1 or request.num_tokens == first.num_tokens
            alone = not request.sampling.greedy and request.sampling.seed is not None
            if not alike or alone or size > BATCH_TOKENS:
                yield batch
                batch = []
        batch.append(request)
    if batch:
        yield batch


def _generation_config(batch: Sequence[Request], stop_ids: Sequence[int]) -> GenerationConfig:
    sampling = batch[0].sampling
    options: dict[str, object] = {"do_sample": False}
    if not sampling.greedy:
        options = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
        }
    return GenerationConfig(
        num_beams=sampling.num_beams,
        max_new_tokens=batch[0].limit,
        repetition_penalty=sampling.repetition_penalty,
        length_penalty=sampling.length_penalty,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=stop_ids[0] if stop_ids else 0,
        **options,
    )


def _deliver(request: Request, answer: Sequence[int], stop_ids: Sequence[int]) -> None:
    """Give a request the tokens of its best beam; what follows the end is padding."""
    for id in answer:
        request.take(id)
        if request.finish_reason is not None:
            return
    request.finish("length")
