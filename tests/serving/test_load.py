"""Many requests at once, and requests that nobody would send: nothing is lost, nothing grows, nothing breaks."""

import json
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psutil
import pytest

from luthier.engines.base import Sampling
from luthier.types import Conversation, Message

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
RUNNER = "from schemathesis.cli import schemathesis; schemathesis()"
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/score/evaluation", "/v1/models/{id}")
EXAMPLES = 1000
"""Requests to each of the paths that take something: 5,000 in all, some seven minutes on one core."""


@pytest.mark.slow
def test_a_thousand_mixed_requests_are_answered_as_each_alone_and_memory_stays(starter):
    service, chance = starter.service, random.Random(0)
    places = ["France", "Italy", "Spain", "Japan", "China", "Germany", "Russia", "Egypt", "Greece", "Portugal"]
    questions = [f"What is the capital of {place}?" for place in places] + [f"{n} + {n}?" for n in range(15)]
    prompts = [
        service.render(service.model(None), Conversation(messages=(Message(role="user", content=text),))) for text in questions
    ]
    expected = {
        text: next(service.engine.generate([prompt], Sampling(do_sample=False, max_new_tokens=24))).text
        for text, prompt in zip(questions, prompts)
    }
    kinds = [chance.choice(["plain", "plain", "stream", "sampled", "json", "left", "wrong"]) for _ in range(1000)]
    client = httpx2.Client(timeout=300, limits=httpx2.Limits(max_connections=16))
    url, process, memory = f"{starter}/v1/chat/completions", psutil.Process(), []

    def ask(number):
        kind, text = kinds[number], questions[number % len(questions)]
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 24}
        if number % 50 == 0:
            memory.append(process.memory_info().rss)
        if kind == "plain":
            return client.post(url, json=body).json()["choices"][0]["message"]["content"] == expected[text]
        if kind in ("stream", "left"):
            with client.stream("POST", url, json=body | {"stream": True}) as answer:
                if kind == "left":
                    next(answer.iter_lines())
                    return True
                lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
            told = [json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines[:-1]]
            return lines[-1] == "[DONE]" and "".join(told) == expected[text]
        if kind == "sampled":
            return client.post(url, json=body | {"temperature": 1.2, "n": 2}).status_code == 200
        if kind == "json":
            schema = {
                "type": "object",
                "properties": {"ok": {"type": "boolean"}},
                "required": ["ok"],
                "additionalProperties": False,
            }
            form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
            words = client.post(url, json=body | {"response_format": form}).json()["choices"][0]["message"]["content"]
            return set(json.loads(words)) == {"ok"}
        return client.post(url, json=body | {"temperature": -1}).status_code == 400

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(1000)))
    assert found.count(True) == 1000
    assert starter.gate.running == starter.gate.waiting == service.driver.num_running == 0
    early, late = memory[len(memory) // 4], memory[-1]
    print(f"memory after 250 requests {early / 2**20:.0f} MiB, after 1,000 {late / 2**20:.0f} MiB")
    assert late < early * 1.05 + 20 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_no_request_that_the_openapi_page_allows_or_forbids_breaks_the_server(starter, path):
    """schemathesis: valid and invalid requests; statuses, types and bodies are those that the page tells."""
    assert examined(starter, "--phases", "fuzzing", "--max-examples", str(EXAMPLES), "--include-path", path) >= EXAMPLES


@pytest.mark.slow
def test_every_field_at_its_edges_is_answered_as_the_openapi_page_tells(starter):
    # the coverage phase cannot spell out all of a chat request on Python 3.11 ("AST constructor recursion depth mismatch")
    assert examined(starter, "--phases", "coverage", "--exclude-path", "/v1/chat/completions") > 300


def examined(address, *words):
    """How many requests schemathesis made; fails where one was not answered as the page tells."""
    common = ["--checks", CHECKS, "--request-timeout", "120", "--no-color", "--suppress-health-check", "all", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, "run", f"{address}/openapi.json", *words, *common],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    print(done.stdout[-600:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(re.search(r"(\d+) generated", done.stdout)[1])
