"""MinerU: a server that answers as mineru-api does (field names and answers of its fast_api.py), and the folders it writes."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luthier.documents.project import Project, add_files
from luthier.documents.readers import mineru_server
from luthier.documents.readers.mineru import parse_items
from luthier.documents.readers.mineru_server import read_with_mineru
from luthier.errors import DataError
from luthier.workflows import documents

PDF = b"%PDF-1.4 the words of it are known to the server alone"
ITEMS = [
    {"type": "header", "text": "ACME", "page_idx": 0, "bbox": [0, 0, 9, 9]},
    {"type": "text", "text": "Pump guide", "text_level": 1, "page_idx": 0, "bbox": [62, 480, 946, 904]},
    {"type": "text", "text": "It pumps water up to the roof of the house.", "page_idx": 0, "bbox": [62, 480, 946, 904]},
    {"type": "code", "sub_type": "code", "code_caption": ["Listing 1"], "code_body": "```sh\npump --on\n```", "page_idx": 1},
    {"type": "list", "sub_type": "text", "list_items": ["open the valve", "- wait"], "page_idx": 1},
    {"type": "image", "img_path": "images/a.jpg", "image_caption": ["Fig. 1"], "image_footnote": ["Not to scale"],
     "page_idx": 1},
    {"type": "equation", "text": "$$\np = F / A\n$$", "text_format": "latex", "page_idx": 2},
    {"type": "table", "table_caption": ["Codes"], "table_footnote": ["as of May"], "page_idx": 2,
     "table_body": "<table><tr><td>E1</td><td>too hot</td></tr><tr><td>E2</td><td>too cold</td></tr></table>"},
]  # fmt: skip
GOOD = (200, {"backend": "pipeline", "version": "3.4.4", "results": {"pump": {"content_list": json.dumps(ITEMS)}}})


@pytest.fixture
def server():
    """answers: (status, body) one by one, the last one again and again. seen: the fields of each form that came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            fields = dict(re.findall(rb'name="(\w+)"(?:; filename="[^"]*")?\r\n(?:[^\r]+\r\n)*\r\n(.*?)\r\n--', raw, re.DOTALL))
            http.seen.append((self.path, {key.decode(): value for key, value in fields.items()}))
            status, body = http.answers.pop(0) if len(http.answers) > 1 else http.answers[0]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.seen, http.answers, http.url = [], [GOOD], f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


@pytest.fixture
def pump(tmp_path):
    (tmp_path / "pump.pdf").write_bytes(PDF)
    return tmp_path / "pump.pdf"


def test_the_server_gets_what_it_knows_and_its_list_becomes_text(server, pump):
    parsed = read_with_mineru(pump, server.url + "/")
    [(path, fields)] = server.seen
    assert path == "/file_parse" and fields["files"] == PDF
    assert fields["return_content_list"] == b"true" and fields["return_md"] == b"false"
    assert (parsed.parser, parsed.version, parsed.num_pages, parsed.title) == ("mineru", "3.4.4", 3, "Pump guide")
    assert [page for _, page in parsed.pages] == [1, 2, 3]
    assert parsed.text == (
        "# Pump guide\n\nIt pumps water up to the roof of the house.\n\n"
        "Listing 1\n\n```sh\npump --on\n```\n\n- open the valve\n- wait\n\nFig. 1\n\nNot to scale\n\n"
        "$$\np = F / A\n$$\n\nCodes\n\n| E1 | too hot |\n| --- | --- |\n| E2 | too cold |\n\nas of May\n\n"
    )
    assert parsed.notes == ("1 running head or page number left out", "1 picture left out, but for captions")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"error": "Unsupported file type: exe"}, r"refused pump\.pdf: HTTP 400: Unsupported file type: exe"),
        (409, {"status": "failed", "error": "EngineCore encountered an issue"}, "HTTP 409: EngineCore encountered"),
        (500, {"error": "Failed to process file: boom"}, "HTTP 500: Failed to process file: boom"),
        (404, {"detail": "Not Found"}, r"(?s)HTTP 404: Not Found.*use mineru-api 2 or 3"),
        (200, {"results": {"pump": {"content_list": None}}}, r"no content list for pump\.pdf"),
        (200, {"results": {}}, "no content list"),
        (200, b"<html>a proxy's page</html>", "no content list"),
        (200, {"results": {"pump": {"content_list": '[{"a": 1}]'}}}, "is no content list of MinerU"),
        (200, {"results": {"pump": {"content_list": "[]"}}}, "has no text"),
    ],
)
def test_what_a_server_refuses_is_said_with_the_file(server, pump, status, body, words):
    server.answers = [(status, body)]
    with pytest.raises(DataError, match=words):
        read_with_mineru(pump, server.url)


def test_a_busy_server_is_asked_again(server, pump, monkeypatch):
    monkeypatch.setattr(mineru_server, "WAIT_S", 0.01)
    busy = (503, {"detail": "Server is at maximum capacity: 1. Please try again later."})
    server.answers = [busy, busy, GOOD]
    assert read_with_mineru(pump, server.url).title == "Pump guide" and len(server.seen) == 3
    server.answers = [busy]
    with pytest.raises(DataError, match="HTTP 503: Server is at maximum capacity"):
        read_with_mineru(pump, server.url, timeout_s=0.1)


def test_a_server_that_is_down_is_said(server, pump):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9 does not answer for pump\.pdf"):
        read_with_mineru(pump, "http://127.0.0.1:9")


def test_a_project_reads_by_server_and_by_folder_alike(server, tmp_path, pump):
    folder = tmp_path / "pump" / "auto"
    (folder / "images").mkdir(parents=True)
    (folder / "pump_content_list.json").write_text(json.dumps(ITEMS))
    (folder / "pump.md").write_text("MinerU's own Markdown is not read twice")
    recipe = "chunk: {max_chars: 300, min_chars: 0}\nsplit: {val: 0, test: 0}\n"
    with Project.create(tmp_path / "p", recipe + f"parse: {{mineru_url: '{server.url}', timeout_s: 20}}\n") as project:
        add_files(project, [pump, folder])
        documents.parse(project)
        rows = project.store.all("SELECT * FROM document ORDER BY name")
        assert [row["name"] for row in rows] == ["auto/pump_content_list.json", "pump.pdf"]
        assert rows[0]["text_sha"] == rows[1]["text_sha"]  # by server and by folder: the same words
        assert [row["num_pages"] for row in rows] == [3, 3] and rows[1]["parser_version"] == "3.4.4"


def test_a_list_without_pages_or_levels_is_read():
    assert parse_items([{"type": "text", "text": "Words."}], "x", "x").pages == ((0, 1),)
