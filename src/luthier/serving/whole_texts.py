"""/v1/embeddings and /v1/score/evaluation: what a model makes of whole texts."""

from __future__ import annotations

import base64
import secrets
import struct
from typing import Any

from starlette.concurrency import run_in_threadpool

from luthier.serving.completions import read_prompts
from luthier.serving.errors import APIError, asked_in
from luthier.serving.protocol.base import Usage
from luthier.serving.protocol.completions import Embedding, EmbeddingAnswer, EmbeddingRequest, ScoreAnswer, ScoreRequest
from luthier.workflows.serve import Service


async def embed(service: Service, request: EmbeddingRequest) -> dict[str, Any]:
    """Raises APIError or LuthierError for a request that cannot be answered."""
    return await run_in_threadpool(_embed, service, request)


async def score(service: Service, request: ScoreRequest) -> dict[str, Any]:
    """Raises APIError or LuthierError for a request that cannot be answered."""
    return await run_in_threadpool(_score, service, request)


def _embed(service: Service, request: EmbeddingRequest) -> dict[str, Any]:
    model = service.model(request.model)
    prompts = read_prompts(service, request.input)
    if request.dimensions is not None and request.dimensions != service.width:
        raise APIError(400, f"Embeddings of {model.id} have {service.width} numbers.", param="dimensions", code="invalid_value")
    with asked_in("input"):
        vectors = service.embed(model, prompts)
    count = sum(map(len, prompts))
    packed = request.encoding_format == "base64"
    data = [
        Embedding(object="embedding", index=number, embedding=_packed(vector) if packed else vector)
        for number, vector in enumerate(vectors)
    ]
    return EmbeddingAnswer(
        object="list", data=data, model=model.id, usage=Usage(prompt_tokens=count, total_tokens=count)
    ).plain()


def _score(service: Service, request: ScoreRequest) -> dict[str, Any]:
    model = service.model(request.model)
    if not service.can_score:
        raise APIError(
            400,
            f"{model.id} is no reward model (it has no value head): serve what stage rm has trained.",
            code="no_reward_model",
        )
    prompts = read_prompts(service, request.messages, special=False)
    prompts = [prompt[: request.max_length] for prompt in prompts]
    with asked_in("messages"):
        scores = service.score(model, prompts)
    return ScoreAnswer(
        id=f"scoreeval-{secrets.token_hex(12)}", object="score.evaluation", model=model.id, scores=scores
    ).plain()


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
