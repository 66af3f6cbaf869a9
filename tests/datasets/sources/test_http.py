"""Data files over HTTP from a server of our own; other protocols name the package they need."""

import gzip
import json
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import DataError
from luthier.types import Conversation

ROWS = [{"question": f"q{i} 中文", "answer": f"a{i}"} for i in range(20)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_): ...

    def send_head(self):
        if self.path.startswith("/secret"):
            self.send_error(403)
            return None
        return super().send_head()


@pytest.fixture
def url(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.jsonl").write_text(LINES, encoding="utf-8")
    (folder / "b.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    (folder / "d.csv").write_text("question,answer\nq,a\n" * 1, encoding="gbk")
    (folder / "e.jsonl").write_text(LINES[:-20], encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def read(name, **keys):
    return list(read_samples(Config(dataset=[name], **keys), wants=Conversation))


@pytest.mark.parametrize(("name", "count"), [("a.jsonl", 20), ("b.json", 20), ("c.jsonl.gz", 20), ("d.csv", 1)])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_url_needs_no_registration(url, name, count, streaming):
    samples = read(f"{url}/{name}", streaming=streaming)
    assert len(samples) == count
    assert samples[0].messages[0].content.startswith("q")
    assert samples[0].origin.file == f"{url}/{name}"


def test_a_registered_url(url):
    info = {"set": {"cloud_file_name": f"{url}/a.jsonl", "columns": {"prompt": "answer", "response": "question"}}}
    assert read("set", dataset_dir=info)[0].messages[0].content == "a0"


def test_a_bad_row_is_named_with_its_url(url):
    with pytest.raises(DataError, match=r"http://127.*e\.jsonl row 20 is not valid JSON"):
        read(f"{url}/e.jsonl")


@pytest.mark.parametrize(("path", "message"), [("no.jsonl", "does not exist"), ("secret.jsonl", "cannot be read")])
def test_what_the_server_refuses(url, path, message):
    with pytest.raises(DataError, match=message):
        read(f"{url}/{path}")


def test_a_server_that_is_not_there():
    with pytest.raises(DataError, match=r"cannot be read .*\n  Check the address and the network"):
        read("http://127.0.0.1:9/a.jsonl")


@pytest.mark.parametrize(
    ("url", "package"), [("s3://bucket/a.jsonl", "s3fs"), ("gs://bucket/a.jsonl", "gcsfs"), ("az://box/a.jsonl", "adlfs")]
)
def test_the_package_of_a_protocol_is_named(url, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=f"needs {package}.\n  pip install {package}"):
        read(url)
