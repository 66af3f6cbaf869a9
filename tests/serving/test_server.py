"""The other paths, keys, queues, limits and clients that go away; against live servers."""

import base64
import http.client
import json
import struct
import threading
import time

import httpx2
import openai
import pytest
import torch

from luthier.cli import main
from luthier.engines.base import BASE
from tests.serving.conftest import client_of, serving

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
ENDLESS = {"messages": CAPITAL, "max_tokens": 400, "temperature": 0, "logit_bias": {}}


def endless(service):
    """A request that no stop token ends."""
    stops = service.template(service.model(None)).stop_token_ids
    return ENDLESS | {"logit_bias": {str(id): -100 for id in stops}}


def test_completions_go_on_from_text_or_ids(client, starter):
    service = starter.service
    text = service.decode(service.render(service.model(None), _conversation("What is the capital of France?")))
    answers = [
        client.completions.create(model="starter", prompt=prompt, temperature=0, max_tokens=20, logprobs=2)
        for prompt in (text, service.encode(text), [text, text])
    ]
    assert "Paris" in answers[0].choices[0].text
    assert len({choice.text for answer in answers for choice in answer.choices}) == 1
    assert [choice.index for choice in answers[2].choices] == [0, 1]
    told = answers[0].choices[0].logprobs
    assert "".join(told.tokens) == answers[0].choices[0].text
    assert told.text_offset == [len("".join(told.tokens[:n])) for n in range(len(told.tokens))]
    assert client.completions.create(model="starter", prompt=text).choices[0].finish_reason in ("stop", "length")
    chunks = list(client.completions.create(model="starter", prompt=text, temperature=0, max_tokens=20, stream=True, echo=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == text + answers[0].choices[0].text


@pytest.mark.parametrize(("prompt", "code"), [("a " * 5000, "context_length_exceeded"), ([10**6], "invalid_value")])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_read_is_named_by_its_own_field(client, prompt, code, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="starter", prompt=prompt, stream=stream)
    assert (caught.value.param, caught.value.code) == ("prompt", code)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="starter", input=prompt)
    assert (caught.value.param, caught.value.code) == ("input", code)


def _conversation(text):
    from luthier.types import Conversation, Message

    return Conversation(messages=(Message(role="user", content=text),))


def test_embeddings_are_the_mean_of_the_last_hidden_states(client, starter):
    texts = ["A cat.", "The capital of France is Paris."]
    found = client.embeddings.create(model="starter", input=texts).data  # the client asks for base64
    service = starter.service
    for text, each in zip(texts, found):
        ids = torch.tensor([service.encode(text)])
        with torch.no_grad():
            mean = service.answerer.net.model(input_ids=ids).last_hidden_state[0].mean(0)
        expected = mean / mean.norm()
        assert torch.allclose(torch.tensor(each.embedding), expected, atol=1e-5)
    plain = httpx2.post(f"{starter}/v1/embeddings", json={"input": texts[0]}).json()
    packed = httpx2.post(f"{starter}/v1/embeddings", json={"input": texts[0], "encoding_format": "base64"}).json()
    numbers = plain["data"][0]["embedding"]
    unpacked = struct.unpack(f"<{len(numbers)}f", base64.b64decode(packed["data"][0]["embedding"]))
    assert unpacked == pytest.approx(numbers, abs=1e-7)


def test_models_health_and_metrics(client, starter):
    assert [model.id for model in client.models.list()] == ["starter"]
    assert client.models.retrieve("starter").id == "starter"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert httpx2.get(f"{starter}/health").json()["status"] == "ok"
    text = httpx2.get(f"{starter}/metrics").text
    assert 'luthier_requests_total{path="/v1/models",status="200"}' in text
    assert "luthier_requests_running 0.0" in text
    assert httpx2.get(f"{starter}/nowhere").json()["error"]["type"] == "invalid_request_error"
    assert httpx2.post(f"{starter}/v1/score/evaluation", json={"messages": ["a"]}).status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"messages": ' + b"[" * 20000, 400), (b'{"temperature": NaN}', 400), (b"\xff", 400),
     (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400), (b'{"prompt": "\\ud800"}', 400)],
)  # fmt: skip
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_nonsense_is_no_fault_of_the_server(starter, body, status, path):
    answer = httpx2.post(f"{starter}/v1/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_client_that_goes_away_frees_its_place(starter):
    for stream in (True, False):
        host, port = starter.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        body = json.dumps(endless(starter.service) | {"stream": stream})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        if stream:
            connection.getresponse().read(30)
        wait_until(lambda: starter.service.driver.num_running == 1)
        connection.close()
        wait_until(lambda: starter.service.driver.num_running == 0, seconds=5)
        wait_until(lambda: starter.gate.running == 0, seconds=5)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_more_than_may_wait_is_turned_away(starter):
    with serving(starter.service, max_concurrent=1, max_queued=1) as address:
        statuses = []

        def ask():
            statuses.append(
                httpx2.post(f"{address}/v1/chat/completions", json=endless(address.service), timeout=120).status_code
            )

        threads = [threading.Thread(target=ask) for _ in range(2)]
        threads[0].start()
        wait_until(lambda: address.gate.running == 1)
        threads[1].start()
        wait_until(lambda: address.gate.waiting == 1)
        refused = httpx2.post(f"{address}/v1/chat/completions", json={"messages": CAPITAL})
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["type"] == "rate_limit_error"
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]
        assert client_of(address).chat.completions.create(model="starter", messages=CAPITAL).choices


def test_a_key_is_asked_for_and_foreign_names_are_refused():
    with serving(api_key="secret", max_request_mb=0.01, api_model_name="gpt-4") as address:
        with pytest.raises(openai.AuthenticationError):
            client_of(address).models.list()
        client = client_of(address, api_key="secret")
        assert client.chat.completions.create(model="gpt-4", messages=CAPITAL).model == "starter"
        assert httpx2.get(f"{address}/health").status_code == 200
        assert httpx2.get(f"{address}/metrics").status_code == 401
        own = {"authorization": "Bearer secret"}
        assert httpx2.get(f"{address}/v1/models", headers=own | {"host": "evil.example"}).status_code == 403
        large = {"messages": [{"role": "user", "content": "a" * 20000}]}
        assert httpx2.post(f"{address}/v1/chat/completions", json=large, headers=own).status_code == 413
        pieces = (b"a" * 5000 for _ in range(4))
        assert httpx2.post(f"{address}/v1/chat/completions", content=pieces, headers=own).status_code == 413


def test_adapters_are_switched_within_a_batch(adapters, tiny_folder):
    """Each model's answer through the API is the one that the engine gives with its adapter alone."""
    one, two = adapters
    with serving(adapter_name_or_path=str(one), api_adapters=f"second={two}", template="qwen", max_new_tokens=8) as address:
        service, client = address.service, client_of(address)
        ids = [model.id for model in client.models.list()]
        assert ids == [one.name, tiny_folder.name, "second"]
        prompt = service.render(service.model(None), _conversation("Hi"))
        expected = {
            id: next(service.engine.generate([prompt], service.sampling, adapter=adapter)).text
            for id, adapter in zip(ids, (None, BASE, "adapter_0"))
        }
        assert len(set(expected.values())) == 3
        found = {}
        threads = [
            threading.Thread(
                target=lambda id=id: found.setdefault(
                    id, client.chat.completions.create(model=id, messages=[{"role": "user", "content": "Hi"}])
                )
            )
            for id in ids
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {id: answer.choices[0].message.content.strip() for id, answer in found.items()} == {
            id: _words(service, text) for id, text in expected.items()
        }


def _words(service, text):
    reader = service.reader(service.model(None), [5], ())
    return "".join(event.text for event in [*reader.push(text), *reader.flush()] if event.kind == "words").strip()


def test_a_reward_model_scores(tiny_folder, tmp_path):
    import shutil

    from luthier.models.heads import ValueHead

    folder = shutil.copytree(tiny_folder, tmp_path / "judge")
    head = ValueHead(32)
    head.save(folder)
    with serving(model_name_or_path=str(folder), template="qwen") as address:
        texts = ["Hello there", "No"]
        answer = httpx2.post(f"{address}/v1/score/evaluation", json={"model": "judge", "messages": texts}).json()
        service = address.service
        for text, score in zip(texts, answer["scores"]):
            ids = torch.tensor([service.encode(text, special=False)])
            with torch.no_grad():
                expected = head(service.answerer.net.model(input_ids=ids).last_hidden_state[0, -1]).item()
            assert score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "a key is required"),
        (["--model_name_or_path", "./nowhere"], "nowhere"),
        (["--engine", "vllm"], "pip install vllm"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_loaded(words, says, capsys, monkeypatch):
    monkeypatch.delenv("API_KEY", raising=False)
    assert main(["serve", "--port", "0", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_taken_port_is_named(starter, capsys):
    assert main(["api", "--port", starter.rpartition(":")[2]]) == 2
    assert "another port" in capsys.readouterr().err.lower()
