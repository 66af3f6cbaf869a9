"""In a real browser: models compared, a benchmark run, and a chat whose answers come from a server elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.webui.test_newcomer import choose, fill, status_of, wait_state

pytestmark = pytest.mark.slow


@pytest.fixture
def tuned(board):
    """A run of two steps in the Board's folder."""
    argv = [sys.executable, "-m", "luthier", "train", "model_name_or_path=starter", "dataset=identity", "stage=sft"]
    argv += ["finetuning_type=lora", "max_steps=2", "output_dir=saves/tuned", "learning_rate=0.01", "-q"]
    subprocess.run(argv, cwd=board.folder, env=board.env, check=True, timeout=300)
    return board.folder / "saves" / "tuned"


def test_models_are_compared_and_asked_a_benchmark(browser, board, tuned):
    page = browser.page("en")
    page.goto(f"{board.url}/evaluate")
    page.click("[data-test=what] button:has-text('Compare')")
    choose(page, "dataset", "identity")
    choose(page, "models", "base")
    page.locator("[data-key=models] .problem", has_text="two models").wait_for()
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="two models").wait_for()
    choose(page, "models", "tuned")
    fill(page, "max_samples", "4")
    fill(page, "max_new_tokens", "16")
    page.click("[data-test=start]")
    wait_state(page, "finished")
    page.locator("[data-test=differences] td", has_text="rouge-l").wait_for()
    assert page.locator("[data-test=answers] .pair").count() == 4
    assert page.locator("[data-test=answers] .pair").first.locator(".said").count() == 3  # reference and both answers
    made = next((board.folder / "saves" / "compare").iterdir())
    assert status_of(made)["kind"] == "compare" and json.loads((made / "compare_results.json").read_text())["rows"] == 4

    questions = board.folder / "evaluation" / "mmlu"
    (questions / "test").mkdir(parents=True)
    (questions / "dev").mkdir()
    (questions / "mapping.json").write_text('{"colours": {"name": "colours", "category": "Other"}}')
    for split in ("test", "dev"):
        (questions / split / f"colours_{split}.csv").write_text("The sky is,blue,red,green,black,A\n" * 3)
    page.click("[data-test=what] button:has-text('Benchmark')")
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="Benchmark").wait_for()
    choose(page, "task", "C-Eval")
    page.locator("[data-key=task_dir] .problem", has_text="evaluation/ceval").wait_for()
    page.keyboard.press("Tab")
    choose(page, "task", "MMLU")
    fill(page, "n_shot", "1")
    page.click("[data-test=start]")
    wait_state(page, "finished")
    page.locator("[data-test=scores] td", has_text="Average").wait_for()
    assert page.locator("[data-test=differences]").count() == 0
    assert browser.faults() == []


class Server(BaseHTTPRequestHandler):
    """A server of OpenAI's protocol that knows one answer."""

    keys: list[str | None] = []

    def do_GET(self) -> None:
        self._send(b'{"object": "list", "data": [{"id": "elsewhere", "object": "model"}]}')

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.keys.append(self.headers["Authorization"])
        text = f"You said **{asked['messages'][-1]['content']}** and $x^2$."
        said = {"choices": [{"delta": {"content": text}, "index": 0, "finish_reason": None}]}
        done = {"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]}
        events = "".join(f"data: {json.dumps(event)}\n\n" for event in (said, done))
        self._send(f"{events}data: [DONE]\n\n".encode(), "text/event-stream")

    def _send(self, body: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_elsewhere_answers_in_the_chat(browser, board):
    board.kill()
    board.extra_env = {"ENGINE_KEY": "open sesame"}
    board.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.page("en")
    page.goto(f"{board.url}/chat")
    page.click("[data-test=engine]")
    page.locator(".q-menu .q-item", has_text="server").click()
    page.click("[data-test=load]")
    page.locator(".q-notification", has_text="address").first.wait_for()
    page.locator("[data-test=engine-url]").fill(f"http://127.0.0.1:{server.server_port}/v1")
    page.click("[data-test=load]")
    page.locator("[data-test=loaded]", has_text="elsewhere").wait_for()
    page.locator("[data-test=message]").fill("hello")
    page.keyboard.press("Enter")
    page.locator("[data-test=good-0]").wait_for()
    assert page.locator("[data-test=answer-0] .prose strong").inner_text() == "hello"
    assert page.locator("[data-test=answer-0] .prose math").count() == 1
    assert Server.keys == ["Bearer open sesame"] and "sesame" not in page.content()
    page.click("[data-test=again]")
    page.locator("[data-test=good-0]").wait_for()
    server.shutdown()
    assert browser.faults() == []
