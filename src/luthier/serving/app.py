"""The FastAPI application: paths, what they take and give, and what may go wrong on each.

Enters: a Service. Leaves: an ASGI application whose OpenAPI page says what it does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import luthier
from luthier.config import Config
from luthier.serving import errors, whole_texts
from luthier.serving.answers import EventStream, begun, while_connected
from luthier.serving.chat import Chats
from luthier.serving.completions import Completions
from luthier.serving.gate import Gate
from luthier.serving.metrics import Metrics
from luthier.serving.protocol.base import ErrorAnswer, SamplingRequest
from luthier.serving.protocol.chat import ChatAnswer, ChatRequest
from luthier.serving.protocol.completions import (
    CompletionAnswer,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    Health,
    ModelCard,
    ModelList,
    ScoreAnswer,
    ScoreRequest,
)
from luthier.serving.security import LOCAL, Guard
from luthier.workflows.serve import Service

MB = 1_000_000

WRONG: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": says}
    for status, says in {
        400: "The request cannot be answered as it is.",
        401: "The key is missing or wrong.",
        403: "The server was called by a name that is not its own.",
        404: "There is no such model.",
        413: "The body is too large.",
        429: "Too many requests wait.",
        500: "A fault of the server.",
        503: "The machine has not enough memory for this request.",
    }.items()
}


def create_app(service: Service, config: Config) -> FastAPI:
    """The API of a service, with the keys of ServingKeys applied."""
    app = FastAPI(title="Luthier", version=luthier.__version__, description=DESCRIPTION, docs_url="/docs", redoc_url=None)
    gate = Gate(config.max_concurrent, config.max_queued)
    metrics = Metrics(service.driver, gate)
    app.include_router(_routes(service, gate, metrics))
    errors.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    local = config.api_host in LOCAL
    app.add_middleware(
        Guard,
        key=config.secret("api_key"),
        names=LOCAL if local else None,
        most_bytes=int(config.max_request_mb * MB),
    )
    if config.api_origins:
        app.add_middleware(CORSMiddleware, allow_origins=config.api_origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    app.add_middleware(_Counted, metrics=metrics, paths=set(_openapi(app)["paths"]))
    app.state.gate, app.state.service = gate, service
    return app


DESCRIPTION = """Chat, completions, embeddings and scores of a model that Luthier serves, in OpenAI's protocol.

Fields that OpenAI's protocol has and this page has not are refused by name. With `stream: true` an answer comes as server-sent
events (`text/event-stream`), each a chunk of the same shape as OpenAI's, then `[DONE]`."""


def _routes(service: Service, gate: Gate, metrics: Metrics) -> APIRouter:
    router = APIRouter(responses=WRONG)
    chats, completions = Chats(service, metrics), Completions(service, metrics)

    async def answer(
        request: Request,
        body: SamplingRequest,
        whole: Callable[[], Awaitable[dict[str, Any]]],
        chunks: Callable[[], AsyncIterator[str]],
    ) -> Response:
        async def whole_in_place() -> dict[str, Any]:
            async with gate.place():
                return await whole()

        async def chunks_in_place() -> AsyncIterator[str]:
            async with gate.place():
                lines = chunks()
                try:
                    async for line in lines:
                        yield line
                finally:
                    await lines.aclose()  # type: ignore[attr-defined]

        if body.stream:
            return EventStream(await while_connected(request, lambda: begun(chunks_in_place())))
        return JSONResponse(await while_connected(request, whole_in_place))

    def streams(kind: type) -> dict[int | str, dict[str, Any]]:
        return {200: {"model": kind, "content": {"text/event-stream": {}}}}

    @router.post("/v1/chat/completions", response_model=None, responses=streams(ChatAnswer), tags=["answers"])
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """The answer to a conversation, written in the model's own chat template."""
        asked = await chats.understand(body)
        return await answer(request, body, lambda: chats.whole(asked), lambda: chats.chunks(asked))

    @router.post("/v1/completions", response_model=None, responses=streams(CompletionAnswer), tags=["answers"])
    async def text_completions(request: Request, body: CompletionRequest) -> Response:
        """What follows a text, without a template."""
        asked = await completions.understand(body)
        return await answer(request, body, lambda: completions.whole(asked), lambda: completions.chunks(asked))

    @router.post("/v1/embeddings", response_model=None, responses={200: {"model": EmbeddingAnswer}}, tags=["texts"])
    async def embeddings(body: EmbeddingRequest) -> Response:
        """The mean of the model's last hidden states over a text's tokens, scaled to length 1. A chat model was not trained
        for this: a model made for embeddings finds more."""
        async with gate.place():
            return JSONResponse(await whole_texts.embed(service, body))

    @router.post("/v1/score/evaluation", response_model=None, responses={200: {"model": ScoreAnswer}}, tags=["texts"])
    async def score_evaluation(body: ScoreRequest) -> Response:
        """A reward model's score of whole conversations, at the last token of each."""
        async with gate.place():
            return JSONResponse(await whole_texts.score(service, body))

    @router.get("/v1/models", tags=["server"])
    async def models() -> ModelList:
        """The base and every adapter; the first one answers where a request names none."""
        return ModelList(object="list", data=[_card(service, id) for id in service.models])

    @router.get("/v1/models/{id:path}", tags=["server"])
    async def model(id: str) -> ModelCard:
        """One model."""
        return _card(service, service.model(id).id)

    @router.get("/health", tags=["server"])
    async def health() -> Health:
        """Whether the server answers, and how much is under way. Asks for no key."""
        return Health(status="ok", model=next(iter(service.models)), running=gate.running, waiting=gate.waiting)

    @router.get("/metrics", response_class=PlainTextResponse, tags=["server"])
    async def prometheus() -> Response:
        """Counts and times, for Prometheus."""
        return PlainTextResponse(metrics.text())

    return router


def _card(service: Service, id: str) -> ModelCard:
    model = service.models[id]
    return ModelCard(id=id, object="model", created=service.created, owned_by="luthier", root=model.root, parent=model.parent)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's page without the 422 that this server never sends: what is wrong with a request is a 400."""
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            page.get("components", {}).get("schemas", {}).pop(name, None)
        app.openapi_schema = page
    return app.openapi_schema


class _Counted:
    """Counts every request by path and status, refused ones included."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: set[str]):
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 499

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.duration.observe(time.monotonic() - began)
