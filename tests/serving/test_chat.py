"""OpenAI's own client against a live server of the starter."""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from luthier.engines.base import Sampling
from luthier.types import Conversation, Message

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["place", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def alone(service, text, **sampling):
    """The engine's own answer to one question, without a server."""
    prompt = service.render(service.model(None), Conversation(messages=(Message(role="user", content=text),)))
    return next(service.engine.generate([prompt], Sampling(do_sample=False, **({"max_new_tokens": 32} | sampling))))


def test_an_answer_and_the_same_in_pieces(client, starter):
    answer = client.chat.completions.create(model="starter", messages=CAPITAL, temperature=0)
    expected = alone(starter.service, CAPITAL[0]["content"])
    choice = answer.choices[0]
    assert choice.message.content == expected.text
    assert "Paris" in expected.text
    assert choice.finish_reason == expected.finish_reason == "stop"
    assert answer.usage.prompt_tokens == expected.prompt_tokens
    assert answer.usage.completion_tokens == len(expected.ids)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    chunks = list(
        client.chat.completions.create(
            model="starter", messages=CAPITAL, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == expected.text
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert len(chunks) > 4
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_reason_of_the_end_is_true(client, starter):
    def asked(**options):
        return client.chat.completions.create(model="starter", messages=CAPITAL, temperature=0, **options).choices[0]

    text = alone(starter.service, CAPITAL[0]["content"]).text
    assert asked(max_tokens=2).finish_reason == "length"
    assert (
        asked(max_completion_tokens=2).message.content == alone(starter.service, CAPITAL[0]["content"], max_new_tokens=2).text
    )
    cut = asked(stop=text[5:8])
    assert (cut.message.content, cut.finish_reason) == (text[:5], "stop")
    chunks = client.chat.completions.create(model="starter", messages=CAPITAL, temperature=0, stream=True, max_tokens=2)
    assert list(chunks)[-1].choices[0].finish_reason == "length"


def test_seeds_repeat_choices_and_choices_differ(client):
    def asked(seed):
        answer = client.chat.completions.create(
            model="starter", messages=[{"role": "user", "content": "Tell me a story."}], temperature=2, top_p=1, n=3, seed=seed,
            max_tokens=12, extra_body={"top_k": 0},
        )  # fmt: skip
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        return [choice.message.content for choice in answer.choices]

    first = asked(1)
    assert len(set(first)) == 3
    assert asked(1) == first != asked(2)


def test_log_probabilities_are_the_models_own(client, starter):
    answer = client.chat.completions.create(
        model="starter", messages=CAPITAL, temperature=0, logprobs=True, top_logprobs=3, max_tokens=6
    )
    expected = alone(starter.service, CAPITAL[0]["content"], max_new_tokens=6, logprobs=3)
    told = answer.choices[0].logprobs.content
    assert [round(each.logprob, 4) for each in told] == [round(each.logprob, 4) for each in expected.logprobs]
    assert b"".join(bytes(each.bytes) for each in told).decode() == expected.text
    assert all(len(each.top_logprobs) == 3 and each.top_logprobs[0].token == each.token for each in told)
    chunks = client.chat.completions.create(
        model="starter", messages=CAPITAL, temperature=0, logprobs=True, max_tokens=6, stream=True
    )
    streamed = [each for chunk in chunks for each in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])]
    assert [each.token for each in streamed] == [each.token for each in told]


def test_a_tool_that_must_be_called_is_called_with_what_its_schema_asks_for(client):
    chosen = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("required", chosen):
        answer = client.chat.completions.create(
            model="starter", messages=CAPITAL, tools=[WEATHER], tool_choice=choice, temperature=1.5, seed=3, max_tokens=200
        ).choices[0]
        assert answer.finish_reason == "tool_calls"
        for call in answer.message.tool_calls:
            assert call.function.name == "get_weather"
            arguments = json.loads(call.function.arguments)
            assert set(arguments) == {"place", "days"}
            assert 1 <= arguments["days"] <= 9
    assert len(answer.message.tool_calls) == 1  # the one that was named


def test_calls_stream_as_deltas(client):
    options = {
        "model": "starter", "messages": CAPITAL, "tools": [WEATHER, CLOCK], "tool_choice": "required", "temperature": 0,
        "max_tokens": 200, "parallel_tool_calls": False,
    }  # fmt: skip
    whole = client.chat.completions.create(**options).choices[0]
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**options, stream=True)]
    deltas = [call for choice in chunks for call in choice.delta.tool_calls or ()]
    assert deltas[0].id.startswith("call_")
    assert deltas[0].function.name == whole.message.tool_calls[0].function.name
    assert "".join(delta.function.arguments for delta in deltas) == whole.message.tool_calls[0].function.arguments
    assert len(whole.message.tool_calls) == 1
    assert {delta.index for delta in deltas} == {0}
    assert chunks[-1].finish_reason == "tool_calls"
    if deltas[0].function.name == "get_weather":
        assert len(deltas) > 3


def test_a_conversation_with_a_call_and_its_result_is_answered(client):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"place": "Rome", "days": 1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        *CAPITAL,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "warm"}]},
    ]
    answer = client.chat.completions.create(model="starter", messages=messages, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content is not None


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, stream):
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "sure": {"type": "boolean"}},
        "required": ["city", "sure"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="starter", messages=CAPITAL, temperature=1, stream=stream,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
    found = json.loads(text)
    assert found["city"] in ("Paris", "Rome")
    assert isinstance(found["sure"], bool)


def test_any_json_object(client):
    answer = client.chat.completions.create(
        model="starter", messages=CAPITAL, temperature=0, response_format={"type": "json_object"}, max_tokens=300
    ).choices[0]
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.message.content), dict)
    assert answer.message.content.startswith("{")


def test_pydantic_models_are_read_back(client):
    from pydantic import BaseModel, Field

    class City(BaseModel):
        name: str = Field(max_length=12)
        inhabitants: int = Field(ge=0, le=99_999_999)

    answer = client.chat.completions.parse(
        model="starter", messages=CAPITAL, response_format=City, temperature=0, max_tokens=300
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_hundred_requests_at_sixteen_at_a_time_are_answered_as_each_alone(client, starter):
    questions = [f"What is the capital of {place}?" for place in ("France", "Italy", "Spain", "China", "Japan")] + [
        f"{number} + {number}?" for number in range(15)
    ]
    expected = {question: alone(starter.service, question).text for question in questions}

    def ask(number):
        question = questions[number % len(questions)]
        options = {"model": "starter", "messages": [{"role": "user", "content": question}], "temperature": 0}
        if number % 3 == 0:
            chunks = client.chat.completions.create(**options, stream=True)
            return question, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return question, client.chat.completions.create(**options).choices[0].message.content

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(100)))
    assert len(found) == 100
    assert all(text == expected[question] for question, text in found)
    assert starter.gate.running == starter.gate.waiting == starter.service.driver.num_running == 0


@pytest.mark.parametrize(
    ("options", "status", "code", "param"),
    [
        ({"model": "gpt-99"}, 404, "model_not_found", "model"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, 400, "invalid_value", "messages.0.role"),
        ({"messages": [*CAPITAL, {"role": "system", "content": "a"}]}, 400, "invalid_value", "messages.1.role"),
        ({"messages": [{"role": "user", "content": "a " * 5000}]}, 400, "context_length_exceeded", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, "invalid_value",
         "messages.0.content.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "invalid_value", "tools.0.function.name"),
        ({"tools": [{"type": "function"}]}, 400, "invalid_value", "tools.0.function"),
        ({"tool_choice": "required"}, 400, "invalid_value", "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, "invalid_value",
         "tool_choice.function.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "objekt"}}}}, 400,
         "invalid_value", None),
        ({"top_logprobs": 3}, 400, "invalid_value", "top_logprobs"),
        ({"logit_bias": {"a": 1}}, 400, "invalid_value", "logit_bias"),
        ({"extra_body": {"best_of": 2}}, 400, "invalid_value", "best_of"),
        ({"n": 1000}, 400, "invalid_value", "n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_gets_the_error_object(client, options, status, code, param, stream):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**({"model": "starter", "messages": CAPITAL, "stream": stream} | options))
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.param == param
    assert caught.value.body["message"]
    assert caught.value.type == "invalid_request_error"
