"""/v1/completions: plain text or token ids in, what follows out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.serving.protocol.base import Id, Request, Response, SamplingRequest, Text, Usage

MOST_PROMPTS = 128

Ids = Annotated[list[Id], Field(min_length=1)]
Prompts = Annotated[list[Text], Field(min_length=1, max_length=MOST_PROMPTS)]
PromptIds = Annotated[list[Ids], Field(min_length=1, max_length=MOST_PROMPTS)]


class CompletionRequest(SamplingRequest):
    prompt: Text | Ids | Prompts | PromptIds = Field(description="Control words in a text count as such; no template is used.")
    max_tokens: int | None = Field(None, ge=1, le=2**31, description="16 where it is left out. What fits the context is given.")
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = Field(None, description="The prompt comes before the answer; not together with logprobs.")
    suffix: None = Field(None, description="Not supported.")
    best_of: int | None = Field(None, ge=1, description="Not supported beyond n.")


class CompletionLogprobs(Response):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Response):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class CompletionAnswer(Response):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class EmbeddingRequest(Request):
    model: str | None = None
    input: Text | Ids | Prompts | PromptIds
    encoding_format: Literal["float", "base64"] | None = Field(None, description="base64: little-endian float32.")
    dimensions: int | None = Field(None, ge=1, description="The model's own width, or left out.")
    user: str | None = Field(None, description="Accepted; changes nothing.")


class Embedding(Response):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingAnswer(Response):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class ScoreRequest(Request):
    """As LLaMA-Factory has it."""

    model: str | None = None
    messages: Prompts = Field(description="Whole rendered conversations; each gets one score.")
    max_length: int | None = Field(None, ge=1, description="Texts are cut to this many tokens at their end.")


class ScoreAnswer(Response):
    id: str
    object: Literal["score.evaluation"]
    model: str
    scores: list[float]


class ModelCard(Response):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None = None


class ModelList(Response):
    object: Literal["list"]
    data: list[ModelCard]


class Health(Response):
    status: Literal["ok"]
    model: str
    running: int
    waiting: int
