"""Who gets in: names, origins, sizes, tokens, folders."""

import asyncio
from pathlib import Path

import pytest

from luthier.errors import ConfigError, LuthierError
from luthier.webui.paths import outside, safe_name
from luthier.webui.security import COOKIE, TRIES, Guard, proof_of
from luthier.webui.settings import Settings


async def inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def ask(guard, path="/", method="GET", host="127.0.0.1:7860", query="", body=b"", kind="http", **headers):
    """(status, headers) of one request; a closed websocket has its code as status."""
    raw = [(b"host", host.encode())] + [
        (name.replace("_", "-").encode(), str(value).encode()) for name, value in headers.items()
    ]
    scope = {"type": kind, "path": path, "method": method, "headers": raw, "query_string": query.encode(), "scheme": "http"}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    found = {name.decode().lower(): value.decode() for name, value in sent[0].get("headers", [])}
    return sent[0].get("status", sent[0].get("code")), found


def test_a_foreign_name_or_origin_is_refused_and_nothing_may_be_loaded_from_elsewhere():
    guard = Guard(inner, Settings())
    status, headers = ask(guard)
    assert status == 200
    assert "connect-src 'self' ws://127.0.0.1:7860 wss://127.0.0.1:7860;" in headers["content-security-policy"]
    assert "default-src 'self'" in headers["content-security-policy"] and headers["x-frame-options"] == "DENY"
    assert ask(guard, host="localhost:7860")[0] == 200
    assert ask(guard, host="evil.example:7860")[0] == 421  # DNS that points at this machine
    assert ask(guard, method="POST", origin="http://evil.example")[0] == 403
    assert ask(guard, kind="websocket", origin="http://evil.example")[0] == 1008
    assert ask(guard, method="POST", origin="http://127.0.0.1:7860")[0] == 200


def test_a_body_that_is_too_large_is_refused():
    guard = Guard(inner, Settings(upload_mb=1))
    assert ask(guard, method="POST", content_length=10 << 20)[0] == 413
    assert ask(guard, method="POST", content_length=1000)[0] == 200
    assert ask(guard, method="POST", content_length="-5")[0] == 413


def test_the_token_lets_in_once_and_wrong_ones_are_counted():
    guard = Guard(inner, Settings(host="0.0.0.0", token="secret"))
    host = "box:7860"
    assert ask(guard, host=host)[0] == 303
    assert ask(guard, host=host, path="/_nicegui/x.js")[0] == 401
    assert ask(guard, host=host, kind="websocket")[0] == 1008
    status, headers = ask(guard, host=host, query="token=secret")
    assert status == 303 and "secret" not in str(headers)
    assert "httponly" in headers["set-cookie"].lower() and "samesite=strict" in headers["set-cookie"].lower()
    assert ask(guard, host=host, cookie=f"{COOKIE}={proof_of('secret')}")[0] == 200
    assert ask(guard, host=host, cookie=f"{COOKIE}=secret")[0] == 303
    assert ask(guard, host=host, path="/login", method="POST", body=b"token=secret")[0] == 303
    for _ in range(TRIES):
        assert ask(guard, host=host, path="/login", method="POST", body=b"token=wrong")[0] == 401
    assert ask(guard, host=host, path="/login", method="POST", body=b"token=secret")[0] == 401  # for a while nobody


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("box", False)]
)
def test_what_counts_as_this_machine(host, local):
    assert Settings(host=host).is_local is local


def test_paths_outside_the_allowed_folders_are_named(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    (here / "link").symlink_to(there)
    settings = Settings(folders=(here,))
    assert outside({"model_name_or_path": "starter", "dataset": ["identity"], "output_dir": "runs/x"}, settings) == {}
    assert outside({"model_name_or_path": "Qwen/Qwen3-0.6B", "dataset_dir": "ONLINE"}, settings) == {}
    for bad in (
        {"output_dir": str(there)},
        {"dataset": ["../there/x.json"]},
        {"model_name_or_path": "/etc"},
        {"export_dir": "link/x"},
    ):
        assert list(outside(bad, settings)) == list(bad), bad
    assert outside({"output_dir": str(there)}, Settings(folders=(here, there))) == {}
    with pytest.raises(ConfigError, match="--allow"):
        settings.allow(there / "x")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("rows.json", "rows.json"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a b.csv", "a b.csv"),
        ("数据.jsonl", "数据.jsonl"),
        (".x;y", "x_y"),
    ],
)
def test_names_of_uploads_hold_no_folder(name, safe):
    assert safe_name(name) == safe == Path(safe).name


def test_a_name_that_says_nothing_is_refused():
    with pytest.raises(LuthierError):
        safe_name("../..")
