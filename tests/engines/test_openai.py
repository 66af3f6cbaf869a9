"""The engine that asks a server, against Luthier's own: the same answers as the model gives on the spot."""

import pytest

from luthier.config import load_config
from luthier.engines.base import Sampling
from luthier.engines.openai import OpenAIEngine, _Pieces
from luthier.errors import ConfigError, EngineError
from luthier.types import Conversation, Message, ToolCall
from luthier.workflows.chat import Chat
from luthier.workflows.remote import RemoteTemplate
from tests.serving.conftest import starter  # noqa: F401  a live server

GREEDY = Sampling(do_sample=False, max_new_tokens=20)


def test_ids_and_conversations_get_the_servers_answers(starter):  # noqa: F811
    service = starter.service
    texts = ["What is the capital of France?", "What is the capital of Italy?", "2 + 2?"]
    talks = [Conversation(messages=(Message(role="user", content=text),)) for text in texts]
    prompts = [service.render(service.model(None), talk) for talk in talks]
    expected = {each.index: each for each in service.engine.generate(prompts, GREEDY)}
    engine = OpenAIEngine(f"{starter}/v1", tokenizer=service.tokenizer)
    assert engine.model == "starter"
    for asked in (prompts, talks):
        found = {each.index: each for each in engine.generate(asked, GREEDY)}
        for index in range(3):
            assert found[index].text == expected[index].text
            assert found[index].finish_reason == expected[index].finish_reason
            assert found[index].prompt_tokens == expected[index].prompt_tokens
        assert "".join(engine.stream(asked[0], GREEDY)) == expected[0].text
    pieces = []
    for piece in engine.stream(prompts[0], GREEDY, lambda: len(pieces) > 1):
        pieces.append(piece)
    assert len(pieces) < 4
    seeded = Sampling(temperature=1.5, seed=5, min_p=0.01, presence_penalty=0.5, stop=("zzz",), max_new_tokens=10)
    assert next(engine.generate(prompts[:1], seeded)).text == next(service.engine.generate(prompts[:1], seeded)).text


def test_chat_runs_on_a_server_with_and_without_the_model_here(starter):  # noqa: F811
    keys = {"infer_backend": "openai", "engine_url": f"{starter}/v1", "do_sample": False, "max_new_tokens": 20}
    local = Chat(load_config({"model_name_or_path": "starter", "do_sample": False, "max_new_tokens": 20}))
    here = Chat(load_config(keys | {"model_name_or_path": "starter"}))
    there = Chat(load_config(keys))
    said = ["".join(piece.text for piece in chat.ask("What is the capital of Spain?")) for chat in (local, here, there)]
    assert said[0] == said[1] == said[2] != ""
    assert there.sides[0].messages[-1].content == said[0]
    there.use_adapter("nowhere")
    with pytest.raises(EngineError, match="no model"):
        list(there.ask("And?"))


def test_what_goes_wrong_is_said(starter):  # noqa: F811
    with pytest.raises(EngineError, match="does not answer"):
        OpenAIEngine("http://127.0.0.1:9/v1")
    engine = OpenAIEngine(f"{starter}/v1", model="other")
    with pytest.raises(EngineError, match='404: there is no model "other"'):
        next(engine.generate([[5]], GREEDY))
    with pytest.raises(EngineError, match="beams"):
        next(engine.generate([[5]], Sampling(num_beams=2)))
    with pytest.raises(ConfigError, match="no server is named"):
        Chat(load_config({"infer_backend": "openai"}))


def test_reasoning_and_calls_that_a_server_tells_apart_are_read_back():
    pieces = _Pieces()
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"reasoning_content": "m."},
        {"content": "I look."},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Köln"}'}}]},
    ]
    text = "".join([piece for delta in deltas for piece in pieces.push(delta)] + list(pieces.flush()))
    message = RemoteTemplate().parse(text)
    assert (message.thinking, message.content) == ("Hmm.", "I look.")
    assert message.tool_calls == (ToolCall(name="look", arguments={"at": "Köln"}),)
