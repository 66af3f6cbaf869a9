"""Publishing an export: a local server that speaks Hugging Face's protocol gets all files; so does ModelScope's client."""

import base64
import inspect
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from luthier.config import Config
from luthier.errors import ExportError
from luthier.workflows.export import export


class Hub(BaseHTTPRequestHandler):
    """whoami, a new repository, preupload (everything inline) and one commit. server.files: path -> bytes."""

    def log_message(self, *_): ...

    def do_GET(self):
        is_known = self.headers.get("Authorization") == "Bearer hf_secret"
        self.answer(200 if is_known else 401, {"type": "user", "name": "me"} if is_known else {"error": "Invalid token"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer(200, {"url": f"http://{self.headers['Host']}/me/mine", "name": "me/mine", "id": "me/mine"})
        elif path.endswith("/preupload/main"):
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif path.endswith("/commit/main"):
            if self.server.is_full:
                self.answer(507, {"error": "no room"})
                return
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                200,
                {
                    "success": True,
                    "commitUrl": f"http://{self.headers['Host']}/me/mine/commit/1",
                    "commitOid": "1",
                    "hookOutput": "",
                },
            )
        else:
            self.answer(200, {})

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch):
    from huggingface_hub import HfApi

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.created, server.is_full = {}, None, False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    plain = HfApi.__init__
    monkeypatch.setattr(HfApi, "__init__", lambda self, **more: plain(self, **({"endpoint": url} | more)))
    yield server
    server.shutdown()
    server.server_close()


def config_of(folder, target, **keys):
    keys = {"hf_hub_token": "hf_secret", "export_hub_model_id": "me/mine", "hub_private_repo": True} | keys
    return Config(model_name_or_path=str(folder), export_dir=str(target), template="chatml", **keys)


def test_every_file_arrives(family_folder, tmp_path, server):
    out = export(config_of(family_folder("phi3"), tmp_path / "out"))
    assert (server.created["name"], server.created["visibility"]) == ("mine", "private")
    assert server.files == {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_a_wrong_token_is_refused_before_anything_is_written(family_folder, tmp_path, server):
    with pytest.raises(ExportError, match="does not know who publishes me/mine"):
        export(config_of(family_folder("phi3"), tmp_path / "out", hf_hub_token="hf_other"))
    assert not (tmp_path / "out").exists() and server.created is None


def test_what_could_not_be_published_is_still_there(family_folder, tmp_path, server):
    server.is_full = True
    with pytest.raises(ExportError, match=r"out, but it could not be published as me/mine"):
        export(config_of(family_folder("phi3"), tmp_path / "out"))
    assert (tmp_path / "out" / "config.json").is_file()


def test_modelscope_is_called_as_its_client_wants(family_folder, tmp_path, monkeypatch):
    hub = pytest.importorskip("modelscope_hub")
    calls = []

    def record(name, answer):
        signature = inspect.signature(getattr(hub.HubApi, name))

        def call(*args, **more):
            bound = signature.bind(*args, **more).arguments  # TypeError where the client has no such argument
            calls.append((name, {key: value for key, value in bound.items() if key != "self"}))
            return answer

        monkeypatch.setattr(hub.HubApi, name, call)

    for name, answer in (("whoami", None), ("repo_exists", False), ("create_repo", None), ("upload_folder", None)):
        record(name, answer)
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    out = export(config_of(family_folder("phi3"), tmp_path / "out", ms_hub_token="ms"))
    assert [name for name, _ in calls] == ["whoami", "repo_exists", "create_repo", "upload_folder"]
    assert calls[2][1] == {"repo_id": "me/mine", "repo_type": "model", "visibility": "private"}
    assert (calls[3][1]["repo_id"], calls[3][1]["folder_path"]) == ("me/mine", out)
