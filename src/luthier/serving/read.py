"""A chat request as Luthier's own nouns: a Conversation, and Sampling.

Enters: protocol types. Leaves: types that engines and templates know, or an APIError that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from luthier.engines.base import Sampling
from luthier.serving.errors import APIError
from luthier.serving.protocol.base import SamplingRequest
from luthier.serving.protocol.chat import ChatRequest, ChosenTool, MessageIn, Part, ToolCallIn
from luthier.types import Conversation, Message, ToolCall
from luthier.workflows.constrain import ANY_OBJECT
from luthier.workflows.serve import Model, Service

TAKEN = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "do_sample")
"""Fields that mean the same in a request and in Sampling."""


def read_sampling(request: SamplingRequest, base: Sampling) -> Sampling:
    """What the request asks for on top of what the server was started with."""
    changes: dict[str, Any] = {name: getattr(request, name) for name in TAKEN if getattr(request, name) is not None}
    if request.temperature is not None:
        changes["temperature"] = request.temperature
        changes.setdefault("do_sample", request.temperature > 0)
    if request.stop is not None:
        changes["stop"] = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)
    if request.logit_bias:
        changes["logit_bias"] = tuple((_token_id(id), bias) for id, bias in request.logit_bias.items())
    return replace(base, num_beams=1, **changes)


def seeds_of(sampling: Sampling, count: int) -> list[Sampling]:
    """One Sampling a choice: choices of one seed differ from each other, and each repeats itself."""
    if sampling.seed is None:
        return [sampling] * count
    return [replace(sampling, seed=sampling.seed + 1_000_003 * number) for number in range(count)]


def read_conversation(request: ChatRequest) -> Conversation:
    """The messages; leading system and developer messages are one. Raises APIError for what cannot be said to a model."""
    messages = [_message(message, f"messages.{number}") for number, message in enumerate(request.messages)]
    count = next((number for number, message in enumerate(messages) if message.role != "system"), len(messages))
    system = "\n\n".join(message.content for message in messages[:count])
    rest = messages[count:]
    if late := next((number for number, message in enumerate(rest, count) if message.role == "system"), None):
        raise APIError(400, "A system message comes before all others.", param=f"messages.{late}.role", code="invalid_value")
    if not rest:
        raise APIError(400, "There is no message to answer.", param="messages", code="invalid_value")
    if rest[-1].role == "assistant":
        raise APIError(400, "The last message is the assistant's own.", param="messages", code="invalid_value")
    head = (Message(role="system", content=system),) if count else ()
    return Conversation(messages=(*head, *rest), tools=tuple(offered_tools(request)))


def offered_tools(request: ChatRequest) -> list[Mapping[str, Any]]:
    """Descriptions of the tools that the model is told of; none with tool_choice none."""
    if request.tool_choice == "none":
        return []
    tools = [tool.function for tool in request.tools or ()]
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise APIError(400, "Two tools have the same name.", param="tools", code="invalid_value")
    if not tools and request.tool_choice not in (None, "auto"):
        raise APIError(400, "tool_choice asks for a call, but there are no tools.", param="tool_choice", code="invalid_value")
    return [
        {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters or NO_PARAMETERS}
        for tool in tools
    ]


NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


def read_grammar(request: ChatRequest, service: Service, model: Model, prompt: Sequence[int]) -> str | None:
    """The grammar that the answer has to follow: of tools that must be called or are strict, or of response_format."""
    tools = offered_tools(request)
    reasoning = service.reasoning(prompt)
    if reasoning == "possible" and not service.reasons(model, request.thinking):
        reasoning = "none"
    choice = request.tool_choice
    if isinstance(choice, ChosenTool):
        tools = [tool for tool in tools if tool["name"] == choice.function.name]
        if not tools:
            raise APIError(
                400, f'There is no tool "{choice.function.name}".', param="tool_choice.function.name", code="invalid_value"
            )
    required = choice == "required" or isinstance(choice, ChosenTool)
    strict = any(tool.function.strict for tool in request.tools or ())
    if tools and (required or strict or request.parallel_tool_calls is False):
        return service.grammarian.calls(
            tools,
            service.tool_format(model),
            reasoning=reasoning,
            required=required,
            many=request.parallel_tool_calls is not False and not isinstance(choice, ChosenTool),
        )
    schema = _schema(request)
    return None if schema is None else service.grammarian.json(schema, reasoning=reasoning)


def _schema(request: ChatRequest) -> Mapping[str, Any] | None:
    format = request.response_format
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return ANY_OBJECT
    if format.json_schema is None:
        raise APIError(400, "It is missing.", param="response_format.json_schema", code="invalid_value")
    return format.json_schema.schema_ or {}


def _message(message: MessageIn, where: str) -> Message:
    content = _words(message.content, where)
    calls = tuple(_call(call, f"{where}.tool_calls.{number}") for number, call in enumerate(message.tool_calls or ()))
    if message.role != "assistant" and calls:
        raise APIError(400, "Only the assistant calls tools.", param=f"{where}.tool_calls", code="invalid_value")
    if message.content is None and not calls and message.role != "assistant":
        raise APIError(400, "It is missing.", param=f"{where}.content", code="invalid_value")
    role = "system" if message.role == "developer" else message.role
    thinking = (message.reasoning_content or message.reasoning) if role == "assistant" else None
    return Message(role=role, content=content, thinking=thinking, tool_calls=calls)


def _words(content: str | list[Part] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for number, part in enumerate(content):
        if part.type not in ("text", "refusal") or part.text is None:
            raise APIError(
                400, f'This server reads text, not "{part.type}".', param=f"{where}.content.{number}.type", code="invalid_value"
            )
    return "".join(part.text or "" for part in content)


def _call(call: ToolCallIn, where: str) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise APIError(400, "It is not a JSON object.", param=f"{where}.function.arguments", code="invalid_value")
    return ToolCall(name=call.function.name, arguments=arguments, id=call.id)


def _token_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise APIError(400, f'"{text}" is no token id.', param="logit_bias", code="invalid_value")
    return int(text)
