"""/v1/completions: text goes on, without a template."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from luthier.engines.base import Completion, Sampling, TokenLogprob
from luthier.engines.request import Delta as Step
from luthier.serving.answers import answers
from luthier.serving.chat import LEAST
from luthier.serving.errors import APIError
from luthier.serving.metrics import Metrics
from luthier.serving.protocol.base import Usage
from luthier.serving.protocol.completions import CompletionAnswer, CompletionChoice, CompletionLogprobs, CompletionRequest
from luthier.serving.read import read_sampling, seeds_of
from luthier.workflows.serve import Model, Service

MAX_TOKENS = 16
"""OpenAI's length of a completion where none is asked for."""


@dataclass(slots=True)
class Asked:
    """A request that was understood. prompts: n times each, as the choices are numbered."""

    request: CompletionRequest
    model: Model
    prompts: list[list[int]]
    samplings: list[Sampling]
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))


class Completions:
    """Answers completion requests with a service."""

    def __init__(self, service: Service, metrics: Metrics):
        self._service, self._metrics = service, metrics

    async def understand(self, request: CompletionRequest) -> Asked:
        """Raises APIError or LuthierError for a request that cannot be answered."""
        return await run_in_threadpool(self._understand, request)

    async def whole(self, asked: Asked) -> dict[str, Any]:
        """The whole answer at once."""
        found: dict[int, Completion] = {}
        async for number, item in self._answers(asked):
            if isinstance(item, Completion):
                found[number] = item
        choices = []
        for number, item in sorted(found.items()):
            start = self._echo(asked, number)
            choices.append(
                CompletionChoice(
                    index=number,
                    text=start + item.text,
                    logprobs=self._logprobs(item.logprobs or (), asked, len(start)),
                    finish_reason=_reason(item),
                )
            )
        return self._answer(asked, choices, usage=self._usage(asked, list(found.values()))).plain()

    async def chunks(self, asked: Asked) -> AsyncIterator[str]:
        """The answer as JSON texts of chunks."""
        wants_usage = bool(asked.request.stream_options and asked.request.stream_options.include_usage)
        extra: dict[str, Any] = {"usage": None} if wants_usage else {}
        offsets = [0] * len(asked.prompts)
        found: list[Completion] = []

        def chunk(number: int, text: str, logprobs: Sequence[TokenLogprob] = (), reason: Any = None) -> str:
            told = self._logprobs(logprobs, asked, offsets[number])
            offsets[number] += len(text)
            choice = CompletionChoice(index=number, text=text, logprobs=told, finish_reason=reason)
            return self._answer(asked, [choice], **extra).model_dump_json(exclude_unset=True)

        stream = self._answers(asked)
        try:
            if asked.request.echo:
                for number in range(len(asked.prompts)):
                    yield chunk(number, self._echo(asked, number))
            async for number, item in stream:
                if isinstance(item, Completion):
                    found.append(item)
                    yield chunk(number, "", reason=_reason(item))
                elif item.text or item.logprobs:
                    yield chunk(number, item.text, item.logprobs)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
        if wants_usage:
            yield self._answer(asked, [], usage=self._usage(asked, found)).model_dump_json(exclude_unset=True)

    # ---- how it is done ----

    def _understand(self, request: CompletionRequest) -> Asked:
        service, count = self._service, request.n or 1
        if request.echo and request.logprobs is not None:
            raise APIError(
                400, "Log-probabilities of a prompt are not given: echo or logprobs.", param="echo", code="invalid_value"
            )
        if request.best_of is not None and request.best_of != count:
            raise APIError(400, "It is not supported beyond n.", param="best_of", code="invalid_value")
        if request.stream_options and not request.stream:
            raise APIError(400, "It needs stream: true.", param="stream_options", code="invalid_value")
        sampling = replace(
            read_sampling(request, service.sampling), max_new_tokens=request.max_tokens or MAX_TOKENS, logprobs=request.logprobs
        )
        prompts = read_prompts(service, request.prompt)
        samplings = seeds_of(sampling, count)
        return Asked(
            request,
            service.model(request.model),
            [prompt for prompt in prompts for _ in range(count)],
            [each for _ in prompts for each in samplings],
        )

    async def _answers(self, asked: Asked) -> AsyncIterator[tuple[int, Step | Completion]]:
        watches = [self._metrics.watch(len(prompt)) for prompt in asked.prompts]
        streams = bool(asked.request.stream)
        stream = answers(
            self._service.driver, asked.prompts, asked.samplings, asked.model.adapter, deltas=streams, field="prompt"
        )
        try:
            async for number, item in stream:
                if isinstance(item, Completion):
                    watches[number].finish(item.finish_reason, len(item.ids))
                else:
                    watches[number].token()
                yield number, item
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    def _echo(self, asked: Asked, number: int) -> str:
        return self._service.decode(asked.prompts[number]) if asked.request.echo else ""

    def _logprobs(self, logprobs: Sequence[TokenLogprob], asked: Asked, offset: int) -> CompletionLogprobs | None:
        if asked.request.logprobs is None or not logprobs:
            return None

        def shown(id: int) -> str:
            return self._service.engine.token_bytes(id).decode("utf-8", "replace")

        tokens = [shown(each.id) for each in logprobs]
        offsets = [offset + sum(map(len, tokens[:number])) for number in range(len(tokens))]
        return CompletionLogprobs(
            tokens=tokens,
            token_logprobs=[max(each.logprob, LEAST) for each in logprobs],
            top_logprobs=[{shown(id): max(logprob, LEAST) for id, logprob in each.top} for each in logprobs],
            text_offset=offsets,
        )

    def _usage(self, asked: Asked, found: Sequence[Completion]) -> Usage:
        prompts = sum(map(len, asked.prompts[:: asked.request.n or 1]))
        count = sum(len(item.ids) for item in found)
        return Usage(prompt_tokens=prompts, completion_tokens=count, total_tokens=prompts + count)

    def _answer(self, asked: Asked, choices: list[CompletionChoice], **more: Any) -> CompletionAnswer:
        return CompletionAnswer(
            id=asked.id, object="text_completion", created=asked.created, model=asked.model.id, choices=choices, **more
        )


def read_prompts(service: Service, prompt: str | list[Any], *, special: bool = True) -> list[list[int]]:
    """Prompts of any of the four shapes as ids. Raises APIError for text that is no Unicode."""
    if isinstance(prompt, list) and isinstance(prompt[0], int):
        return [prompt]
    prompts = [prompt] if isinstance(prompt, str) else prompt
    try:
        return [service.encode(each, special=special) if isinstance(each, str) else each for each in prompts]
    except (UnicodeEncodeError, TypeError):  # half of a surrogate pair
        raise APIError(400, "It holds characters that are no Unicode text.", param="prompt", code="invalid_value") from None


def _reason(item: Completion) -> Any:
    return "length" if item.finish_reason == "length" else "stop"
