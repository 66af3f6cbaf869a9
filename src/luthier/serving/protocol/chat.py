"""/v1/chat/completions: messages in, choices or chunks out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from luthier.serving.protocol.base import Request, Response, SamplingRequest, Usage

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.:-]{1,128}$")]


class Part(Request):
    """A piece of a message. Only text is understood."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None


class FunctionCall(Request):
    name: str = Field(min_length=1)
    arguments: str = Field(description="A JSON object as text.")


class ToolCallIn(Request):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class MessageIn(Request):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = Field(None, description="Accepted; templates have no place for it.")
    reasoning_content: str | None = Field(None, description="The reasoning of an earlier answer.")
    reasoning: str | None = Field(None, description="Another name of reasoning_content.")
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class FunctionIn(Request):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema.")
    strict: bool | None = Field(None, description="Calls that the model makes follow the schema of every tool.")


class ToolIn(Request):
    type: Literal["function"]
    function: FunctionIn


class ChosenFunction(Request):
    name: str


class ChosenTool(Request):
    type: Literal["function"]
    function: ChosenFunction


class JSONSchema(Request):
    name: Name
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description="The answer follows the schema in any case.")


class ResponseFormat(Request):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None


class TemplateOptions(Request):
    """What Qwen and others call the variables of their chat templates."""

    enable_thinking: bool | None = None


class ChatRequest(SamplingRequest):
    messages: list[MessageIn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=2**31, description="Older name of the next.")
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31, description="Reasoning counts.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[ToolIn] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = Field(None, description="false: one call at the most.")
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description='"none" is enable_thinking: false; the others leave it to the model.'
    )
    enable_thinking: bool | None = Field(None, description="Not part of OpenAI's protocol.")
    chat_template_kwargs: TemplateOptions | None = Field(None, description="Not part of OpenAI's protocol.")
    metadata: dict[str, str] | None = Field(None, description="Accepted; changes nothing.")
    store: Literal[False] | None = Field(None, description="Nothing is stored.")
    service_tier: str | None = Field(None, description="Accepted; changes nothing.")
    safety_identifier: str | None = Field(None, description="Accepted; changes nothing.")
    prompt_cache_key: str | None = Field(None, description="Accepted; changes nothing.")

    @property
    def thinking(self) -> bool | None:
        """enable_thinking, under any of its names."""
        if self.enable_thinking is not None:
            return self.enable_thinking
        if self.chat_template_kwargs and self.chat_template_kwargs.enable_thinking is not None:
            return self.chat_template_kwargs.enable_thinking
        return False if self.reasoning_effort == "none" else None


FinishReason = Literal["stop", "length", "tool_calls"]


class FunctionOut(Response):
    name: str
    arguments: str


class ToolCallOut(Response):
    id: str
    type: Literal["function"]
    function: FunctionOut


class TopLogprob(Response):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprobOut(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Response):
    """Of every token that was generated, reasoning and tool calls included."""

    content: list[TokenLogprobOut]
    refusal: None = None


class MessageOut(Response):
    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallOut] | None = None


class Choice(Response):
    index: int
    message: MessageOut
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason


class ChatAnswer(Response):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class FunctionDelta(Response):
    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Response):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class Delta(Response):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(Response):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(Response):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
