"""A running MinerU server (mineru-api) reads the file; its content list is read like a folder that MinerU wrote."""

from __future__ import annotations

import json
from pathlib import Path

from luthier.documents.base import Parsed
from luthier.documents.readers.mineru import parse_items
from luthier.errors import DataError

TIMEOUT_S = 3600


def read_with_mineru(path: Path, url: str) -> Parsed:
    """POST /file_parse with return_content_list. Raises DataError where the server is down or says no."""
    import httpx2

    fields = {"return_content_list": "true", "return_md": "false"}
    try:
        with path.open("rb") as file:
            address = url.rstrip("/") + "/file_parse"
            answer = httpx2.post(address, files={"files": (path.name, file, "application/pdf")}, data=fields, timeout=TIMEOUT_S)
    except httpx2.TransportError as error:
        raise DataError(
            f"the MinerU server {url} does not answer: {error}.", "Start it (mineru-api), or unset parse.mineru_url."
        ) from None
    if answer.status_code != 200:
        raise DataError(f"the MinerU server {url} refused {path.name}: HTTP {answer.status_code}: {answer.text[:200]}")
    try:
        result = next(iter(answer.json()["results"].values()))
        items = result["content_list"]
    except (ValueError, KeyError, StopIteration, AttributeError):
        raise DataError(
            f"the MinerU server {url} gave no content list for {path.name}.", "Use mineru-api 2.1 or later."
        ) from None
    return parse_items(json.loads(items) if isinstance(items, str) else items, path.stem, path.name)
