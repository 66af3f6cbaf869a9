"""Who may ask, from where, and how much: one layer around the whole web application, HTTP and websocket alike.

Enters: every request.  Leaves: the request, or a refusal.  Checks, in this order: the name by which the page was called (a
foreign web
site that points its name at this machine is refused), the origin of whatever changes something, the size of a body, the token.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import time
from collections import deque
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luthier.webui.settings import MB, Settings

COOKIE = "luthier_board"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
TRIES, TRIES_S = 10, 60.0
"""Wrong tokens that are listened to in so many seconds; after that nobody gets in for a while."""

OVERHEAD = MB
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'{sockets}; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing is loaded from elsewhere, and nothing is sent there. Vue compiles its templates in the browser: inline, eval."""

HOST = re.compile(r"[\w.\-]+(:\d+)?|\[[\da-fA-F:]+\](:\d+)?")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """The layer. settings.token None: no login."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        self.settings = settings
        self._wrong: deque[float] = deque(maxlen=TRIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refuse(scope)
        if refusal is None and scope["type"] == "http" and scope["path"] == "/login":
            refusal = await self._login(scope, receive)
        if refusal is None and not self._may_enter(scope):
            refusal = self._ask_for_token(scope)
        if refusal is None:
            await self.app(scope, self._limited(receive), _with_headers(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(scope, send))

    # ---- what is refused outright ----

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.settings.token is None and _name(host) not in {*LOCAL_NAMES, self.settings.host}:
            return PlainTextResponse(f"This page is not called {html.escape(host)}.", 421)
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin and urlsplit(origin).netloc != host:
            return PlainTextResponse("Asked from another site.", 403)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._largest:
            return PlainTextResponse(f"More than {self.settings.upload_mb} MB are not taken.", 413)
        return None

    @property
    def _largest(self) -> int:
        return self.settings.upload_mb * MB + OVERHEAD

    def _limited(self, receive: Receive) -> Receive:
        taken = 0

        async def receive_some() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._largest:
                    return {"type": "http.disconnect"}
            return message

        return receive_some

    # ---- the token ----

    def _may_enter(self, scope: Scope) -> bool:
        if self.settings.token is None:
            return True
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(COOKIE)
        return cookie is not None and hmac.compare_digest(cookie.value, proof_of(self.settings.token))

    def _ask_for_token(self, scope: Scope) -> Response:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["type"] == "http" and scope["method"] == "GET" and self._is_token(query.get("token", [""])[0]):
            return self._let_in(scope["path"])
        if scope["type"] == "http" and scope["path"].startswith("/_nicegui"):
            return PlainTextResponse("Log in first.", 401)
        return RedirectResponse("/login", 303)

    async def _login(self, scope: Scope, receive: Receive) -> Response | None:
        if self.settings.token is None:
            return RedirectResponse("/", 303)
        if scope["method"] != "POST":
            return HTMLResponse(login_page(Headers(scope=scope)))
        body = await _body(receive)
        if self._is_token(parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()):
            return self._let_in("/")
        return HTMLResponse(login_page(Headers(scope=scope), wrong=True), 401)

    def _is_token(self, given: str) -> bool:
        if not given or self.settings.token is None:
            return False
        now = time.monotonic()
        if len(self._wrong) == TRIES and now - self._wrong[0] < TRIES_S:
            return False
        if hmac.compare_digest(given.encode(), self.settings.token.encode()):
            return True
        self._wrong.append(now)
        return False

    def _let_in(self, path: str) -> Response:
        target = path if path.startswith("/") and not path.startswith("//") else "/"
        response = RedirectResponse(target, 303)
        assert self.settings.token is not None
        response.set_cookie(COOKIE, proof_of(self.settings.token), max_age=30 * 86400, httponly=True, samesite="strict")
        return response


def proof_of(token: str) -> str:
    """What the browser keeps instead of the token."""
    return hmac.new(token.encode(), b"luthier board", hashlib.sha256).hexdigest()


LOGIN_WORDS: Mapping[str, tuple[str, str, str, str]] = {
    "en": ("Token", "Open the Board", "That is not the token.", "It was printed where luthier webui was started."),
    "zh": ("令牌", "进入", "令牌不对。", "令牌显示在启动 luthier webui 的终端里。"),
}


def login_page(headers: Mapping[str, Any], wrong: bool = False) -> str:
    """A page that needs no script."""
    lang = "zh" if str(headers.get("accept-language", "")).lower().startswith("zh") else "en"
    label, button, error, hint = LOGIN_WORDS[lang]
    complaint = f'<p role="alert" class="wrong">{error}</p>' if wrong else ""
    return f"""<!doctype html><html lang="{lang}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Luthier</title>
<style>:root{{color-scheme:light dark}}body{{font:15px/24px system-ui,"Noto Sans SC",sans-serif;display:grid;place-items:center;
min-height:100vh;margin:0;background:light-dark(#fbf8f2,#191714);color:light-dark(#2b2824,#ece5d9)}}
form{{width:min(320px,80vw);display:grid;gap:16px}}h1{{font-size:24px;font-weight:600;margin:0}}label{{display:grid;gap:8px}}
input,button{{font:inherit;padding:8px 12px;border-radius:6px;border:1px solid light-dark(#8d8578,#6b6458);color:inherit;
background:transparent}}button{{background:#1f5f4a;color:#fff;border-color:#1f5f4a;cursor:pointer}}
:focus-visible{{outline:2px solid #c8811a;outline-offset:2px}}.wrong{{color:light-dark(#a63d2f,#e58a78);margin:0}}
small{{color:light-dark(#6d655b,#a79d8e)}}</style>
<main><form method="post" action="/login"><h1>Luthier</h1>{complaint}
<label>{label}<input name="token" type="password" autofocus autocomplete="current-password"></label>
<button>{button}</button><small>{hint}</small></form></main></html>"""


def _name(host: str) -> str:
    """localhost:7860 -> localhost"""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


async def _body(receive: Receive, limit: int = 4096) -> bytes:
    body = b""
    while len(body) < limit:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    return body[:limit]


def _with_headers(scope: Scope, send: Send) -> Send:
    host = Headers(scope=scope).get("host", "")
    sockets = f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""  # Safari does not count them to 'self'

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = POLICY.format(sockets=sockets)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_more
