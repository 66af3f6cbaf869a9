"""One HTTP call to an OpenAI-compatible server. Never retries and never parses: engine.py decides, with faults.py and
reply.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from luthier.documents.jobs.keys import hide
from luthier.documents.recipe import EndpointPart


class Answer(NamedTuple):
    """A status with its headers and body, as they came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ms: int


class Client:
    """An async context manager that keeps its connections. key: "" for a server that needs none."""

    def __init__(self, endpoint: EndpointPart, key: str):
        import httpx2

        self._key = key
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"
        self.errors: tuple[type[Exception], ...] = (httpx2.TransportError, httpx2.DecodingError)
        timeout = httpx2.Timeout(endpoint.timeout_s, connect=endpoint.connect_timeout_s, pool=None)
        limits = httpx2.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.AsyncClient(timeout=timeout, limits=limits, headers=headers, follow_redirects=False)

    async def send(self, body: Mapping[str, Any]) -> Answer:
        """Raises one of self.errors where no whole answer came."""
        began = time.monotonic()
        response = await self._http.post(self._url, json=body)
        data = response.content
        if self._key and self._key.encode() in data:
            data = hide(data.decode("utf-8", "replace"), self._key).encode()
        return Answer(response.status_code, response.headers, data, round((time.monotonic() - began) * 1000))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()
