"""The API under load: `luthier api` against `llamafactory-cli api`, the same models, prompts and clients.

    python -m bench.serve --clients 8 --requests 48

    small     a random Qwen3 of 7.9M parameters: answers run to their limit of 64 tokens
    starter   the trained starter: real answers, most of them short

Leaves: bench/results/serve.md with tokens a second at one and at several clients, the time to the first token, the server's CPU
time for a token, how many answers are equal, and the distance to plain `model.generate` on a batch of as many rows. Ends with 1
where answers differ.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil

from bench.generate import generate_rate
from bench.machine import busy, describe
from bench.material import REPOSITORY, add_material_options, alone_in
from bench.models import make_model
from bench.report import bullets, table, verdict, write_report
from bench.sides import LUTHIER, PEER, PEER_PYTHON, environment

GOAL, GOAL_ALONE = 3.0, 1.0
NUM_TOKENS = 64
WARM = 8
"""Answers before anything is timed: a server's first ones pay for what it loads on demand."""
ROUNDS = 5
"""Of requests to the starter, whose short answers take more to be timed."""
COMMANDS = {"luthier": (LUTHIER, "api"), "LLaMA-Factory": (PEER, "api")}
QUESTIONS = [f"Write {number} lines about {thing}." for number in range(2, 8) for thing in
             ("the sea", "bread", "a train", "winter", "一只猫", "old books", "music", "rain")]  # fmt: skip
GENERAL = REPOSITORY / "data" / "general_50.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model that both sides serve. template: a name that both know.  rounds: of requests; short answers take more to time."""

    name: str
    folder: Path
    template: str
    questions: Sequence[str]
    rounds: int = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=48, help="of each round")
    parser.add_argument("--threads", type=int, default=1, help="of each server")
    parser.add_argument("--models", nargs="*", choices=["small", "starter"], default=["small", "starter"])
    add_material_options(parser)
    options = parser.parse_args()
    with alone_in(options.work):
        return measure(options)


def subject(name: str, options: argparse.Namespace) -> Subject:
    if name == "small":
        folder = make_model("small", options.assets, options.work)
        return Subject(name=name, folder=folder, template="qwen", questions=QUESTIONS)
    rows = [json.loads(line) for line in GENERAL.read_text(encoding="utf-8").splitlines()]
    folder = REPOSITORY / "src" / "luthier" / "starter"
    return Subject(name=name, folder=folder, template="chatml", questions=[row["instruction"] for row in rows], rounds=ROUNDS)


def measure(options: argparse.Namespace) -> int:
    """All models and sides one after the other; 1 where answers differ."""
    load, sections, all_equal = busy(), [], True
    for name in options.models:
        section, equal = compare(subject(name, options), options)
        sections.append(section)
        all_equal &= equal
    names = " ".join(options.models)
    write_report(
        options.results,
        "serve",
        "API",
        [
            bullets(describe(options.threads, load, PEER_PYTHON)),
            f"Float32, at most {NUM_TOKENS} greedy tokens an answer, {options.requests} requests, "
            f"{ROUNDS * options.requests} of the starter.",
            *sections,
        ],
        f"python -m bench.serve --clients {options.clients} --requests {options.requests} --threads {options.threads} "
        f"--models {names}",
    )
    return 0 if all_equal else 1


def compare(subject: Subject, options: argparse.Namespace) -> tuple[str, bool]:
    """(the section of one model, whether all answers are equal)."""
    found = {name: ask_side(name, subject, options) for name in COMMANDS}
    env = environment(options.threads, options.work / "serve")
    limit = generate_rate(subject.folder, subject.questions[: options.clients], NUM_TOKENS, env)
    # the same answers are the same tokens: the peer counts the token that ends each of them too
    tokens = {phase: found["luthier"][phase][1] for phase in ("one", "many")}
    rates = {name: {phase: tokens[phase] / side[phase][2] for phase in tokens} for name, side in found.items()}
    rows = [
        (
            name,
            *(f"{rates[name][phase]:.0f}" for phase in tokens),
            *(f"{side[key] * 1000:.0f}" for key in ("first_one", "first_many")),
            *(f"{1000 * side[phase][3] / tokens[phase]:.1f}" for phase in tokens),
        )
        for name, side in found.items()
    ]
    ours, theirs = rates["luthier"], rates["LLaMA-Factory"]
    # what is half a character at the end of a token is written by one side and left out by the other
    texts = [[text.replace("\ufffd", "").strip() for text in found[name]["many"][0]] for name in ("luthier", "LLaMA-Factory")]
    pairs = list(zip(*texts))
    equal = sum(a == b for a, b in pairs)
    many = f"{options.clients} clients"
    header = (
        "API", "tokens/s, 1 client", f"tokens/s, {many}", "first token ms, 1", f"first token ms, {many}",
        "CPU ms a token, 1", f"CPU ms a token, {many}",
    )  # fmt: skip
    notes = [
        f"luthier / LLaMA-Factory, tokens/s at {many}: " + verdict(ours["many"] / theirs["many"], GOAL, at_least=True),
        "luthier / LLaMA-Factory, tokens/s at 1 client: " + verdict(ours["one"] / theirs["one"], GOAL_ALONE, at_least=True),
        f"equal answers: {equal} of {len(pairs)} ({sum(bool(a) for a, _ in pairs)} of ours hold words)",
        f"plain model.generate on a batch of {options.clients}: {limit:.0f} tokens/s; "
        f"luthier's API reaches {ours['many'] / limit:.0%} of it",
    ]
    return "\n\n".join([f"## {subject.name}", table(header, rows), bullets(notes)]), equal == len(pairs)


def ask_side(name: str, subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Start a server, ask it, end it: rates, times to the first token, texts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(options.threads, options.work / "serve") | {"API_HOST": "127.0.0.1", "API_PORT": str(port)}
    keys = {
        "model_name_or_path": subject.folder,
        "template": subject.template,
        "infer_dtype": "float32",
        "max_new_tokens": NUM_TOKENS,
        "do_sample": "false",
    }
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    log = (options.work / f"serve-{subject.name}-{name}.log").open("w")
    process = subprocess.Popen([*map(str, COMMANDS[name]), *words], env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_for(url, process)
        asks = Asks(url, subject)
        asks.all(1, WARM)
        cpu = psutil.Process(process.pid).cpu_times

        def timed(clients: int) -> tuple[list[str], int, float, float]:
            """(texts, tokens, seconds, seconds of the CPU)"""
            before, (texts, tokens, seconds) = cpu(), asks.all(clients, options.requests * subject.rounds)
            spent = cpu()
            return texts, tokens, seconds, spent.user + spent.system - before.user - before.system

        return {
            "one": timed(1),
            "many": timed(options.clients),
            "first_one": median(asks.first_tokens(1)[0] for _ in range(5)),
            "first_many": median(asks.first_tokens(options.clients)),
        }
    finally:
        process.terminate()
        process.wait(30)
        log.close()


class Asks:
    """The clients of one server."""

    def __init__(self, url: str, subject: Subject):
        self._url, self._subject = f"{url}/chat/completions", subject
        self._client = httpx2.Client(timeout=600, limits=httpx2.Limits(max_connections=64))

    def whole(self, question: str) -> tuple[str, int]:
        """(text, generated tokens) of one answer."""
        answer = self._client.post(self._url, json=self._body(question)).json()
        return answer["choices"][0]["message"]["content"] or "", answer["usage"]["completion_tokens"]

    def all(self, clients: int, requests: int) -> tuple[list[str], int, float]:
        """(texts, generated tokens, seconds) of so many requests."""
        questions = [self._subject.questions[number % len(self._subject.questions)] for number in range(requests)]
        began = time.monotonic()
        answers = _together(clients, questions, self.whole)
        return [text for text, _ in answers], sum(count for _, count in answers), time.monotonic() - began

    def first_tokens(self, clients: int) -> list[float]:
        """Seconds from a request to its first words, all clients asking at once."""
        ready = threading.Barrier(clients)

        def ask(question: str) -> float:
            ready.wait()
            began = time.monotonic()
            with self._client.stream("POST", self._url, json=self._body(question, stream=True)) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: {") and has_words(json.loads(line[6:])):
                        return time.monotonic() - began
            return time.monotonic() - began

        return _together(clients, self._subject.questions[:clients], ask)

    def _body(self, question: str, **more: object) -> dict[str, object]:
        messages = [{"role": "user", "content": question}]
        return {"model": self._subject.name, "messages": messages, "max_tokens": NUM_TOKENS, "do_sample": False, **more}


def _together(clients: int, questions: Sequence[str], ask: Callable[[str], Any]) -> list[Any]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, questions))


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


def has_words(chunk: dict[str, Any]) -> bool:
    return any(choice["delta"].get("content") for choice in chunk["choices"])


if __name__ == "__main__":
    sys.exit(main())
