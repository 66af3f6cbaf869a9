"""Text files as rows with one column, "text".

.txt: each line is a document, as in LLaMA-Factory; empty lines are none.  .md: the whole file is one document.
"""

from __future__ import annotations

from collections.abc import Iterator

from luthier.datasets.base import RawRow
from luthier.datasets.sources.file import File


def read_txt(file: File) -> Iterator[RawRow]:
    with file.open_text() as stream:
        for number, line in enumerate(stream, start=1):
            if not line.isspace():
                yield number, {"text": line.removesuffix("\n")}


def read_md(file: File) -> Iterator[RawRow]:
    with file.open_text() as stream:
        text = stream.read()
    if text.strip():
        yield 1, {"text": text}
