"""A scripted OpenAI-compatible server: answers the prompts of Luthier from the text in them, with faults where a test wants
them.

Its answers depend on the request alone, so a disturbed and an undisturbed run must end with the same rows. It counts every
request.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

TEXT = re.compile(r"<(?:text|source)>\n(.*?)\n\s*</(?:text|source)>", re.DOTALL)
UNANSWERABLE = re.compile(r"(\d+) of the questions must be")
COUNT = re.compile(r"exactly (\d+) questions|恰好 (\d+) 个问题")


class Fault(NamedTuple):
    """What goes wrong with one request. status 0 cuts the connection in the middle of the answer; body replaces the answer."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes | None = None
    delay_s: float = 0.0


class FakeServer:
    """script: called with (request, how often this very request came, number of the request); None for no fault."""

    def __init__(
        self, script: Callable[[dict, int, int], Fault | None] = lambda *_: None, delay_s: float = 0.0, reasoning: str = ""
    ):
        self.script, self.delay_s, self.reasoning = script, delay_s, reasoning
        self.requests: Counter[str] = Counter()
        self.times: list[float] = []
        self.starts: dict[str, list[float]] = {}
        self.headers: list[dict[str, str]] = []
        self.active = self.most_active = 0
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *args: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None: ...

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        request = json.loads(raw)
        key = json.dumps(request, sort_keys=True)
        with self.lock:
            self.requests[key] += 1
            again, number = self.requests[key], self.total
            self.times.append(time.monotonic())
            self.starts.setdefault(key, []).append(self.times[-1])
            self.headers.append(dict(handler.headers))
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        try:
            fault = self.script(request, again, number) or Fault()
            time.sleep(fault.delay_s or self.delay_s)
            body = fault.body if fault.body is not None else completion(request, self.reasoning)
            handler.send_response(fault.status or 200)
            for name, value in fault.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            if fault.status == 0:
                handler.wfile.write(body[: len(body) // 2])
                handler.wfile.flush()
                handler.connection.shutdown(socket.SHUT_RDWR)
                handler.close_connection = True
                return
            handler.wfile.write(body)
        except OSError:  # the client is gone
            pass
        finally:
            with self.lock:
                self.active -= 1

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()


def completion(request: dict, reasoning: str = "", content: str | None = None) -> bytes:
    """A chat completion. reasoning: the field to put thoughts in, or "<think>" for a tag."""
    words = answer_to(request["messages"][0]["content"]) if content is None else content
    message: dict[str, Any] = {"role": "assistant", "content": words}
    if reasoning == "<think>":
        message["content"] = f"<think>\nLet me look.\n</think>\n\n{words}"
    elif reasoning:
        message[reasoning] = "Let me look."
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"model": request["model"], "choices": [choice], "usage": usage}, ensure_ascii=False).encode()


def answer_to(prompt: str) -> str:
    """What a model that copies would say."""
    found = TEXT.search(prompt)
    text = found.group(1) if found else ""
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 8] or ["nothing at all"]
    if "Write a conversation" in prompt:
        turns = [{"role": "user", "content": "How is it?"}, {"role": "assistant", "content": lines[0]}]
        turns += [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": lines[-1]}]
        return json.dumps({"turns": turns, "quotes": [lines[0][:60]]}, ensure_ascii=False)
    if "does not answer it" in prompt:
        return json.dumps({"answer": "That is not known to me.", "quotes": []})
    if count := COUNT.search(prompt):
        number = int(count.group(1) or count.group(2))
        missing = UNANSWERABLE.search(prompt)
        chinese = bool(count.group(2))
        ask = "关于“{}”，应该知道些什么呢？" if chinese else 'Which facts are known about "{}"?'
        asked = [
            {"question": ask.format(lines[at % len(lines)][:30] + str(at)), "type": "fact", "difficulty": "easy"}
            for at in range(number)
        ]
        for item in asked[: int(missing.group(1)) if missing else 0]:
            item["type"] = "unanswerable"
        return json.dumps(asked, ensure_ascii=False)
    if "supported" in prompt:
        return '```json\n{"supported": 9, "useful": 8, "reason": "it is there"}\n```'
    line = lines[0]
    return json.dumps({"answer": line, "quotes": [line[:60]]}, ensure_ascii=False)
