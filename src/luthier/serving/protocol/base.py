"""What all requests and answers have in common: strictness, sampling fields, usage, errors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_CHOICES = 16
"""Answers to one request (n)."""

MOST_STOPS = 16

Text = Annotated[str, StringConstraints(min_length=1)]
Id = Annotated[int, Field(ge=0, le=2**31)]


class Request(BaseModel):
    """Unknown fields and values of another type are refused, with their name."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Response(BaseModel):
    """Only what was set is sent."""

    def plain(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class StreamOptions(Request):
    include_usage: bool | None = Field(None, description="A last chunk without choices tells the usage.")
    include_obfuscation: bool | None = Field(None, description="Accepted; nothing is padded.")


class SamplingRequest(Request):
    """How tokens are chosen. Fields that are left out are as the server was started (LLaMA-Factory's generation keys)."""

    model: str | None = Field(None, description="An id of /v1/models; left out, the first of them.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31, description="0 is off. Not part of OpenAI's protocol.")
    min_p: float | None = Field(None, ge=0, le=1, description="Not part of OpenAI's protocol.")
    do_sample: bool | None = Field(None, description="false always takes the likeliest token. Not part of OpenAI's protocol.")
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="1 is off. Not part of OpenAI's protocol.")
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(None, description="Token id -> bias.")
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, description="The same seed gives the same answer.")
    stop: Text | Annotated[list[Text], Field(max_length=MOST_STOPS)] | None = Field(
        None, description="The answer ends before any of these texts."
    )
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Accepted; changes nothing.")


class Usage(Response):
    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class ErrorBody(Response):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(Response):
    error: ErrorBody
