"""/v1/chat/completions: one way for answers that stream and answers that do not.

request ──> conversation ──> prompt ──> deltas of the engine ──> Events (reasoning, words, calls) ──> chunks
                                                                                                 └──> one answer
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool

from luthier.engines.base import Completion, Sampling, TokenLogprob
from luthier.engines.request import Delta as Step
from luthier.serving.answers import answers
from luthier.serving.errors import APIError
from luthier.serving.metrics import Metrics
from luthier.serving.protocol.base import Usage
from luthier.serving.protocol.chat import (
    ChatAnswer,
    ChatChunk,
    ChatLogprobs,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionDelta,
    FunctionOut,
    MessageOut,
    TokenLogprobOut,
    ToolCallDelta,
    ToolCallOut,
    TopLogprob,
)
from luthier.serving.read import offered_tools, read_conversation, read_grammar, read_sampling, seeds_of
from luthier.workflows.answer_stream import Event
from luthier.workflows.serve import Model, Service


@dataclass(slots=True)
class Asked:
    """A request that was understood."""

    request: ChatRequest
    model: Model
    prompt: list[int]
    samplings: list[Sampling]
    tools: Sequence[Any]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass(slots=True)
class Told:
    """One choice so far."""

    words: str = ""
    thinking: str = ""
    calls: list[list[str]] = field(default_factory=list)  # [id, name, arguments]
    logprobs: list[TokenLogprob] = field(default_factory=list)
    num_tokens: int = 0
    finish_reason: FinishReason | None = None

    def add(self, event: Event) -> Delta:
        """Remember an event; what a chunk says of it."""
        if event.kind == "thinking":
            self.thinking += event.text
            return Delta(reasoning_content=event.text)
        if event.kind == "words":
            self.words += event.text
            return Delta(content=event.text)
        if event.kind == "call":
            self.calls.append([f"call_{secrets.token_hex(12)}", event.text, ""])
            id, name, _ = self.calls[-1]
            call = ToolCallDelta(
                index=len(self.calls) - 1, id=id, type="function", function=FunctionDelta(name=name, arguments="")
            )
            return Delta(tool_calls=[call])
        self.calls[-1][2] += event.text
        call = ToolCallDelta(index=len(self.calls) - 1, function=FunctionDelta(arguments=event.text))
        return Delta(tool_calls=[call])


class Chats:
    """Answers chat requests with a service."""

    def __init__(self, service: Service, metrics: Metrics):
        self._service, self._metrics = service, metrics

    async def understand(self, request: ChatRequest) -> Asked:
        """Raises APIError or LuthierError for a request that cannot be answered."""
        return await run_in_threadpool(self._understand, request)

    async def whole(self, asked: Asked) -> dict[str, Any]:
        """The whole answer at once."""
        told = [Told() for _ in asked.samplings]
        async for number, events, _ in self._events(asked, told):
            for event in events:
                told[number].add(event)
        answer = ChatAnswer(
            id=asked.id,
            object="chat.completion",
            created=asked.created,
            model=asked.model.id,
            choices=[self._choice(number, each, asked) for number, each in enumerate(told)],
            usage=self._usage(asked, told),
        )
        return answer.plain()

    async def chunks(self, asked: Asked) -> AsyncIterator[str]:
        """The answer as JSON texts of chunks."""
        told = [Told() for _ in asked.samplings]
        wants_usage = bool(asked.request.stream_options and asked.request.stream_options.include_usage)

        def chunk(number: int, delta: Delta, **more: Any) -> str:
            extra: dict[str, Any] = {"usage": None} if wants_usage else {}
            choice = ChunkChoice(index=number, delta=delta, **{"logprobs": None, "finish_reason": None, **more})
            return self._chunk(asked, [choice], **extra)

        stream = self._events(asked, told)
        try:
            begun: set[int] = set()
            async for number, events, steps in stream:
                if number not in begun:
                    begun.add(number)
                    yield chunk(number, Delta(role="assistant", content=""))
                logprobs = self._logprobs(steps, asked)
                deltas = [told[number].add(event) for event in events] or ([Delta()] if logprobs else [])
                for position, delta in enumerate(deltas):
                    yield chunk(number, delta, logprobs=logprobs if position == 0 else None)
                if told[number].finish_reason:
                    yield chunk(number, Delta(), finish_reason=told[number].finish_reason)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
        if wants_usage:
            yield self._chunk(asked, [], usage=self._usage(asked, told))

    # ---- how it is done ----

    def _understand(self, request: ChatRequest) -> Asked:
        service = self._service
        model = service.model(request.model)
        if request.top_logprobs is not None and not request.logprobs:
            raise APIError(400, "It needs logprobs: true.", param="top_logprobs", code="invalid_value")
        if request.stream_options and not request.stream:
            raise APIError(400, "It needs stream: true.", param="stream_options", code="invalid_value")
        conversation = read_conversation(request)
        prompt = service.render(model, conversation, request.thinking)
        limit = request.max_completion_tokens or request.max_tokens or service.sampling.max_new_tokens
        sampling = replace(
            read_sampling(request, service.sampling),
            max_new_tokens=limit,
            logprobs=(request.top_logprobs or 0) if request.logprobs else None,
            grammar=read_grammar(request, service, model, prompt),
        )
        return Asked(request, model, prompt, seeds_of(sampling, request.n or 1), offered_tools(request))

    async def _events(
        self, asked: Asked, told: Sequence[Told]
    ) -> AsyncIterator[tuple[int, list[Event], Sequence[TokenLogprob]]]:
        """(which choice, what is new in it, the log-probabilities of its new tokens)."""
        service = self._service
        readers = [service.reader(asked.model, asked.prompt, asked.tools) for _ in told]
        watches = [self._metrics.watch(len(asked.prompt)) for _ in told]
        streams = bool(asked.request.stream)
        prompts = [asked.prompt] * len(told)
        stream = answers(service.driver, prompts, asked.samplings, asked.model.adapter, deltas=streams, field="messages")
        try:
            async for number, item in stream:
                one = told[number]
                if isinstance(item, Step):
                    watches[number].token()
                    events = list(readers[number].push(item.text))
                    if events or item.logprobs:
                        one.logprobs += item.logprobs
                        yield number, events, item.logprobs
                elif isinstance(item, Completion):
                    events = (
                        list(readers[number].flush())
                        if streams
                        else [*readers[number].push(item.text), *readers[number].flush()]
                    )
                    one.logprobs = list(item.logprobs or ())
                    one.num_tokens = len(item.ids)
                    one.finish_reason = _reason(item, bool(one.calls) or any(event.kind == "call" for event in events))
                    watches[number].finish(one.finish_reason, one.num_tokens)
                    yield number, events, ()
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    def _choice(self, number: int, told: Told, asked: Asked) -> Choice:
        calls = [
            ToolCallOut(id=id, type="function", function=FunctionOut(name=name, arguments=arguments))
            for id, name, arguments in told.calls
        ]
        more: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if told.thinking.strip():
            more["reasoning_content"] = told.thinking.strip("\n")
        content = told.words if told.words or not calls else None
        message = MessageOut(role="assistant", content=content, refusal=None, **more)
        assert told.finish_reason
        logprobs = self._logprobs(told.logprobs, asked)
        return Choice(index=number, message=message, logprobs=logprobs, finish_reason=told.finish_reason)

    def _logprobs(self, logprobs: Sequence[TokenLogprob], asked: Asked) -> ChatLogprobs | None:
        if not asked.request.logprobs or not logprobs:
            return None

        def shown(id: int, logprob: float) -> dict[str, Any]:
            raw = self._service.engine.token_bytes(id)
            return {"token": raw.decode("utf-8", "replace"), "logprob": max(logprob, LEAST), "bytes": list(raw)}

        return ChatLogprobs(
            content=[
                TokenLogprobOut(**shown(each.id, each.logprob), top_logprobs=[TopLogprob(**shown(*top)) for top in each.top])
                for each in logprobs
            ],
            refusal=None,
        )

    def _usage(self, asked: Asked, told: Sequence[Told]) -> Usage:
        count = sum(each.num_tokens for each in told)
        return Usage(prompt_tokens=len(asked.prompt), completion_tokens=count, total_tokens=len(asked.prompt) + count)

    def _chunk(self, asked: Asked, choices: list[ChunkChoice], **more: Any) -> str:
        chunk = ChatChunk(
            id=asked.id,
            object="chat.completion.chunk",
            created=asked.created,
            model=asked.model.id,
            choices=choices,
            **more,
        )
        return chunk.model_dump_json(exclude_unset=True)


LEAST = -9999.0
"""OpenAI's log-probability of what cannot be; JSON has no minus infinity."""


def _reason(answer: Completion, calls: bool) -> FinishReason:
    if answer.finish_reason == "length":
        return "length"
    reason: Literal["stop", "tool_calls"] = "tool_calls" if calls else "stop"
    return reason
