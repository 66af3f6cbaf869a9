"""Markdown and plain text: the text is the file, character by character."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed
from luthier.documents.readers.decode import decode

FIRST_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


def read_markdown(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    title = FIRST_HEADING.search(text)
    return Parsed(
        text=text, title=title.group(1).strip() if title else path.stem, kind="markdown", parser="own", version="1", notes=notes
    )


def read_text(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    first = next((line.strip() for line in text.splitlines() if line.strip()), path.stem)
    return Parsed(text=text, title=first[:80], kind="text", parser="own", version="1", notes=notes)
