"""A server that scores texts: LLaMA-Factory's protocol, and what is said where it does not answer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from luthier.errors import TrainingError
from luthier.workflows.respond import Answer
from luthier.workflows.rewarding import RewardServer

ANSWERS = [
    Answer(prompt=(1, 2), tokens=(3,), text="x", finished=True),
    Answer(prompt=(1,), tokens=(4, 5), text="y", finished=True),
]


@pytest.fixture
def serve():
    """serve(reply) -> address; what was asked is in serve.asked."""
    servers, asked = [], []

    def start(reply: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1/score/evaluation"

    start.asked = asked
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def words(ids):
    return " ".join(map(str, ids))


def test_texts_go_out_and_scores_come_back(serve):
    server = RewardServer(serve(b'{"scores": [0.5, -1]}'), words)
    assert server(ANSWERS, None).tolist() == [0.5, -1.0]
    assert serve.asked == [{"model": "model", "messages": ["1 2 3", "1 4 5"]}]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b'{"scores": [1]}', "1 scores for 2 texts"),
        (b"{}", "KeyError"),
        (b"no json", "gave no scores"),
        (b'{"scores": ["a"]}', "gave no"),
    ],
)
def test_replies_that_are_no_scores(serve, reply, said):
    with pytest.raises(TrainingError, match=said):
        RewardServer(serve(reply), words)(ANSWERS, None)


def test_nobody_there():
    with pytest.raises(TrainingError, match="gave no scores"):
        RewardServer("http://127.0.0.1:9/none", words)(ANSWERS, np.zeros(2))
