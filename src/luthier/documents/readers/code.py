"""A source file as one fenced block under its name; chunks are cut at its blank lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed
from luthier.documents.readers.decode import decode


def read_code(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    name = str(options.get("name") or path.name)
    fence = "```"
    while fence in text:
        fence += "`"
    body = f"# {name}\n\n{fence}{path.suffix[1:]}\n{text.rstrip()}\n{fence}\n"
    return Parsed(text=body, title=name, kind="code", parser="own", version="1", notes=notes)
