"""A hub on this machine that speaks the protocols of Hugging Face and of ModelScope, and can be told to misbehave.

Enters: repositories as {path: bytes}. Leaves: a server whose address HF_ENDPOINT and MODELSCOPE_ENDPOINT can name, and the
requests it got. Written from what the two clients ask for; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1024
"""Files from this size on are said to lie in LFS, named by their SHA-256; smaller ones in git, by its SHA-1."""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    """files: what its list says.  bodies: what comes instead of a file, one time each, for files damaged on the way.

    absent: files that are listed but not there.  cut_after: path -> after how many bytes the connection is cut, once for each
    number, when the whole file is asked for.  token: who may read it; None for all.  gated: its terms were not accepted.
    """

    files: Mapping[str, bytes]
    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(json.dumps({k: git_hash(v) for k, v in sorted(self.files.items())}).encode()).hexdigest()


class HubServer:
    """repositories: ("models" or "datasets", "owner/name") -> Repository.  asked: "METHOD /path range" of every request."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def add(self, kind: str, name: str, files: Mapping[str, bytes], **faults) -> Repository:
        self.repositories[kind, name] = Repository(files, **faults)
        return self.repositories[kind, name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_hub = hub

    return Handler


class _Refused(Exception):
    """status, and the code by which Hugging Face's client tells causes apart."""

    def __init__(self, status: int, code: str):
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server_hub.asked.append(f"{self.command} {unquote(url.path)} {self.headers.get('Range', '')}".strip())
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        try:
            if parts[:2] == ["api", "v1"]:
                self._modelscope(parts[2], "/".join(parts[3:5]), parts[5:])
            elif parts[0] == "api":
                self._huggingface(parts[1], "/".join(parts[2:4]), parts[4:])
            elif "resolve" in parts:
                kind = "datasets" if parts[0] == "datasets" else "models"
                parts = parts[1:] if kind == "datasets" else parts
                self._resolve(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                raise _Refused(404, "EntryNotFound")
        except _Refused as refused:
            body = json.dumps({"Code": refused.status, "Message": refused.code, "error": refused.code}).encode()
            self._send(refused.status, body, {"X-Error-Code": refused.code, "X-Error-Message": refused.code})

    def _repository(self, kind: str, name: str) -> Repository:
        repository = self.server_hub.repositories.get((kind, name))
        if repository is None:
            raise _Refused(404, "RepoNotFound")
        if repository.gated:
            raise _Refused(403, "GatedRepo")
        given = (self.headers.get("Authorization") or "") + (self.headers.get("Cookie") or "")
        if repository.token and repository.token not in given:
            raise _Refused(401, "RepoNotFound" if not given else "Unauthorized")
        return repository

    # --- Hugging Face

    def _huggingface(self, kind: str, name: str, rest: list[str]) -> None:
        repository = self._repository(kind, name)
        if len(rest) > 1 and rest[1] not in ("main", repository.commit):
            raise _Refused(404, "RevisionNotFound")
        if not rest or rest[0] == "revision":
            self._json({"id": name, "sha": repository.commit, "private": False, "tags": [], "downloads": 0, "likes": 0,
                        "siblings": [{"rfilename": path} for path in repository.files]})  # fmt: skip
        elif rest[0] == "tree":
            inside = "/".join(rest[2:])
            self._json([entry for path, entry in self._tree(repository).items() if path.startswith(inside)])
        elif rest[0] == "paths-info":
            fields = parse_qs(self.body.decode()) if self.body[:1] != b"{" else json.loads(self.body)
            tree = self._tree(repository)
            self._json([tree[path] for path in fields.get("paths", []) if path in tree])
        else:
            raise _Refused(404, "EntryNotFound")

    @staticmethod
    def _tree(repository: Repository) -> dict[str, dict]:
        tree = {}
        for path, content in repository.files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}
            for depth in range(1, path.count("/") + 1):
                folder = "/".join(path.split("/")[:depth])
                tree.setdefault(folder, {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40})
            tree[path] = entry
        return tree

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self._repository(kind, name)
        if revision not in ("main", repository.commit):
            raise _Refused(404, "RevisionNotFound")
        if path not in repository.files or path in repository.absent:
            raise _Refused(404, "EntryNotFound")
        content = repository.files[path]
        etag = hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_hash(content)
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        self._file(repository, path, headers)

    # --- ModelScope

    def _modelscope(self, kind: str, name: str, rest: list[str]) -> None:
        repository = self._repository(kind, name)
        if self.query.get("Revision", "master") != "master":
            raise _Refused(404, "revision not found")
        if rest in (["repo", "files"], ["repo", "tree"]):
            page = int(self.query.get("PageNumber", 1))
            files = [{"Path": path, "Name": path.split("/")[-1], "Type": "blob", "Size": len(content),
                      "Sha256": hashlib.sha256(content).hexdigest()} for path, content in repository.files.items()]  # fmt: skip
            self._json({"Code": 200, "Success": True, "Data": {"Files": files if page == 1 else []}})
        elif rest == ["repo"]:
            path = self.query["FilePath"]
            if path not in repository.files or path in repository.absent:
                raise _Refused(404, "file not found")
            self._file(repository, path, {})
        else:
            self._json({"Code": 200, "Success": True, "Data": {"Name": name}})

    # --- both

    def _file(self, repository: Repository, path: str, headers: dict[str, str]) -> None:
        bodies = repository.bodies.get(path)
        content = bodies.pop(0) if bodies and self.command == "GET" else repository.files[path]
        status, start = 200, 0
        if self.headers.get("Range"):
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else len(content)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            status, content = 206, content[start:end]
        cuts = repository.cut_after.get(path) if status == 200 else None
        self._send(
            status, content, {"Accept-Ranges": "bytes", **headers}, cuts.pop(0) if cuts and self.command == "GET" else None
        )

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut_after: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
