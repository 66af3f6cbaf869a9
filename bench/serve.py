"""The API under load: `luthier api` against `llamafactory-cli api`, the same model, prompts and clients.

    python -m bench.serve --clients 8 --requests 48

Leaves: bench/results/serve.md with tokens a second at one and at several clients, the time to the first token, how many answers
are equal, and the distance to plain `model.generate` on a batch of as many rows.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from bench.machine import busy, describe
from bench.material import add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, verdict, write_report
from bench.sides import LUTHIER, PEER, PEER_PYTHON, environment

GOAL = 3.0
NUM_TOKENS = 64
COMMANDS = {"luthier": (LUTHIER, "api"), "LLaMA-Factory": (PEER, "api")}
QUESTIONS = [f"Write {number} lines about {thing}." for number in range(2, 8) for thing in
             ("the sea", "bread", "a train", "winter", "一只猫", "old books", "music", "rain")]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=48, help="of each round")
    parser.add_argument("--threads", type=int, default=1, help="of each server")
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    load = busy()
    model = make_model("small", options.assets, options.work)
    found = {name: ask_side(name, model, options) for name in COMMANDS}
    limit = generate_rate(model, options)
    rows = [
        (
            name,
            f"{side['one']:.0f}",
            f"{side['many']:.0f}",
            f"{side['first_one'] * 1000:.0f}",
            f"{side['first_many'] * 1000:.0f}",
        )
        for name, side in found.items()
    ]
    ours, theirs = found["luthier"], found["LLaMA-Factory"]
    # what is half a character at the end of a token is written by one side and left out by the other
    equal = sum(
        a.replace("\ufffd", "").strip() == b.replace("\ufffd", "").strip() for a, b in zip(ours["texts"], theirs["texts"])
    )
    words = sum(bool(text.replace("\ufffd", "").strip()) for text in ours["texts"])
    many = f"{options.clients} clients"
    write_report(
        options.results,
        "serve",
        "API",
        [
            bullets(describe(options.threads, load, PEER_PYTHON)),
            f"Random Qwen3 of 7.9M parameters, float32, {NUM_TOKENS} greedy tokens an answer, {options.requests} requests.",
            table(("API", "tokens/s, 1 client", f"tokens/s, {many}", "first token ms, 1", f"first token ms, {many}"), rows),
            bullets(
                [
                    f"luthier / LLaMA-Factory, tokens/s at {many}: "
                    + verdict(ours["many"] / theirs["many"], GOAL, at_least=True),
                    f"equal answers: {equal} of {len(ours['texts'])} ({words} of ours hold words)",
                    f"plain model.generate on a batch of {options.clients}: {limit:.0f} tokens/s; "
                    f"luthier's API reaches {ours['many'] / limit:.0%} of it",
                ]
            ),
        ],
        f"python -m bench.serve --clients {options.clients} --requests {options.requests} --threads {options.threads}",
    )


def ask_side(name: str, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start a server, ask it, end it: rates, times to the first token, texts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(options.threads, options.work / "serve") | {"API_HOST": "127.0.0.1", "API_PORT": str(port)}
    keys = {
        "model_name_or_path": model,
        "template": "qwen",
        "infer_dtype": "float32",
        "max_new_tokens": NUM_TOKENS,
        "do_sample": "false",
    }
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    log = (options.work / f"serve-{name}.log").open("w")
    process = subprocess.Popen([*map(str, COMMANDS[name]), *words], env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_for(url, process)
        client = httpx2.Client(timeout=600, limits=httpx2.Limits(max_connections=64))
        whole(client, url, QUESTIONS[0])  # warm
        texts, one = rate(client, url, 1, max(4, options.requests // 6))
        texts, many = rate(client, url, options.clients, options.requests)
        return {
            "one": one,
            "many": many,
            "texts": texts,
            "first_one": first_token(client, url, 1),
            "first_many": first_token(client, url, options.clients),
        }
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            if httpx2.get(f"{url}/models").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not start in two minutes")


def body_of(question: str, **more: object) -> dict[str, object]:
    return {"model": "small", "messages": [{"role": "user", "content": question}], "max_tokens": NUM_TOKENS, **more}


def whole(client: httpx2.Client, url: str, question: str) -> tuple[str, int]:
    answer = client.post(f"{url}/chat/completions", json=body_of(question, do_sample=False)).json()
    return answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]


def rate(client: httpx2.Client, url: str, clients: int, requests: int) -> tuple[list[str], float]:
    """(texts, generated tokens a second) of so many requests."""
    questions = [QUESTIONS[number % len(QUESTIONS)] for number in range(requests)]
    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda question: whole(client, url, question), questions))
    return [text for text, _ in answers], sum(count for _, count in answers) / (time.monotonic() - began)


def first_token(client: httpx2.Client, url: str, clients: int) -> float:
    """Median seconds from a request to its first words, all clients asking at once."""
    ready = threading.Barrier(clients)

    def ask(question: str) -> float:
        ready.wait()
        began = time.monotonic()
        with client.stream("POST", f"{url}/chat/completions", json=body_of(question, do_sample=False, stream=True)) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {") and has_words(json.loads(line[6:])):
                    return time.monotonic() - began
        return time.monotonic() - began

    with ThreadPoolExecutor(clients) as pool:
        return median(pool.map(ask, QUESTIONS[:clients]))


def has_words(chunk: dict[str, Any]) -> bool:
    return any(choice["delta"].get("content") for choice in chunk["choices"])


def generate_rate(model: Path, options: argparse.Namespace) -> float:
    """Tokens a second of plain transformers on one padded batch of as many rows as there are clients, in its own process."""
    code = GENERATE.format(model=str(model), rows=options.clients, tokens=NUM_TOKENS)
    env = environment(options.threads, options.work / "serve")
    done = subprocess.run([LUTHIER.parent / "python", "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


GENERATE = """
import time, torch
from transformers import AutoModelForCausalLM, GenerationConfig
model = AutoModelForCausalLM.from_pretrained({model!r}, dtype=torch.float32).eval()
ids = torch.randint(10, 6000, ({rows}, 24), generator=torch.Generator().manual_seed(0))
config = GenerationConfig(max_new_tokens={tokens}, min_new_tokens={tokens}, do_sample=False, pad_token_id=0)
def run():
    with torch.no_grad():
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
run()
began = time.monotonic()
for _ in range(3):
    run()
print(3 * {rows} * {tokens} / (time.monotonic() - began))
"""


if __name__ == "__main__":
    main()
