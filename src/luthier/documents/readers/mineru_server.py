"""A running MinerU server reads the file; its content list is read like a folder that MinerU wrote.

Speaks POST /file_parse of mineru-api 2 and 3. A server that is busy (503) is asked again until the time is over.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed, shorten
from luthier.documents.readers.mineru import parse_items
from luthier.errors import DataError

BUSY = (429, 503)
WAIT_S = 5.0
FIELDS = {"return_content_list": "true", "return_md": "false", "return_images": "false"}


def read_with_mineru(path: Path, url: str, timeout_s: float = 3600) -> Parsed:
    """Raises DataError naming the file where the server is down, refuses, is busy for too long or gives no content list."""
    import httpx2

    address = url.rstrip("/") + "/file_parse"
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with path.open("rb") as file:
                sent = {"files": (path.name, file, "application/pdf")}
                answer = httpx2.post(address, files=sent, data=FIELDS, timeout=max(1.0, deadline - time.monotonic()))
        except httpx2.TimeoutException:
            raise DataError(
                f"the MinerU server {url} did not read {path.name} within {timeout_s:g} s.",
                "Raise parse.mineru_timeout_s, or split the file.",
            ) from None
        except httpx2.TransportError as error:
            raise DataError(
                f"the MinerU server {url} does not answer for {path.name}: {error}.",
                "Start it (mineru-api), or unset parse.mineru_url.",
            ) from None
        if answer.status_code not in BUSY or time.monotonic() + WAIT_S > deadline:
            break
        time.sleep(WAIT_S)
    if answer.status_code != 200:
        raise DataError(*_refusal(url, path.name, answer.status_code, answer.text))
    version, items = _content_list(url, path.name, answer.text)
    return parse_items(items, path.stem, path.name, version)


def _refusal(url: str, name: str, status: int, body: str) -> tuple[str, str]:
    """(message, remedy)."""
    try:
        found = json.loads(body)
        said = str(found.get("error") or found.get("detail") or found)
    except (ValueError, AttributeError):
        said = body
    message = f"the MinerU server {url} refused {name}: HTTP {status}: {shorten(said, 200)}"
    if status == 404:
        return message, "It has no /file_parse: use mineru-api 2 or 3, or let MinerU write a folder and add that."
    return message, "Try the file with MinerU's own command; what it writes can be added as a folder."


def _content_list(url: str, name: str, body: str) -> tuple[str, Any]:
    """(version of MinerU, items)."""
    try:
        answer = json.loads(body)
        items = next(iter(answer["results"].values()))["content_list"]
        items = json.loads(items) if isinstance(items, str) else items
    except (ValueError, KeyError, TypeError, StopIteration, AttributeError):
        items = None
    if items is None:
        raise DataError(f"the MinerU server {url} gave no content list for {name}.", "Use mineru-api 2.1 or later.")
    return str(answer.get("version") or ""), items
