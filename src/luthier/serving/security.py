"""Who may ask and how much, before a request is read: one layer around the whole application.

Checks, in this order: the name by which the server was called (a foreign web site that points its name at this machine is
refused), the key, the size of the body. /health asks for no key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luthier.serving.errors import APIError

LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
OPEN = ("/health",)
"""Paths that anybody may ask for."""


class Guard:
    """key: None lets everybody in.  names: the hosts that may stand in a request, None for any.  most_bytes: of a body."""

    def __init__(self, app: ASGIApp, *, key: str | None, names: Sequence[str] | None, most_bytes: int):
        self._app, self._key, self._names, self._most_bytes = app, key, names, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except APIError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self._names is not None and host.lower() not in self._names:
            raise APIError(403, "This server is not known under that name (Host).", code="unknown_host")
        if self._key is not None and scope["path"] not in OPEN and scope["method"] != "OPTIONS":
            given = headers.get("authorization", "")
            scheme, _, token = given.partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._key.encode()):
                missing = "You gave no API key." if not given else "The API key is wrong."
                raise APIError(
                    401,
                    f"{missing} Send it as: Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most_bytes:
            raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        """A body without a length is counted while it comes."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most_bytes:
                error = self._too_large()
                raise HTTPException(error.status, error.message)  # the one kind that FastAPI lets through
            return message

        return counted

    def _too_large(self) -> APIError:
        return APIError(413, f"The body is larger than {self._most_bytes:,} bytes (max_request_mb).", code="request_too_large")
