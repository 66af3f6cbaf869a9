"""JSON Lines: one object a line. A broken line is a BadRow; the lines after it are still read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import orjson

from luthier.datasets.base import BadRow, RawRow
from luthier.datasets.sources.file import File


def read_jsonl(file: File) -> Iterator[RawRow]:
    """Rows with their line number; empty lines are no rows but are counted."""
    encoding = file.encoding()
    if encoding in ("utf-8", "utf-8-sig"):
        lines: Iterator[bytes | str] = _binary_lines(file)
    else:
        lines = iter(file.open_text(newline="\n"))
    for number, line in enumerate(lines, start=1):
        if not line.isspace():
            yield number, parse_line(line)


def _binary_lines(file: File) -> Iterator[bytes]:
    with file.open() as stream:
        first = True
        for line in stream:
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False


def parse_line(line: bytes | str):
    """The value of one line, or a BadRow that says where it is broken."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parse_slowly(line)


def _parse_slowly(line: bytes | str):
    """json.loads knows NaN and names the column of an error, which orjson does not."""
    try:
        text = line.decode() if isinstance(line, bytes) else line
        value = json.loads(text)
        orjson.dumps(value)  # half of a surrogate pair can be read but never written or tokenised
        return value
    except UnicodeDecodeError as error:
        return BadRow(f"is not UTF-8 text (byte {error.start} of the line)", "Convert the file to UTF-8.")
    except json.JSONDecodeError as error:
        return BadRow(f"is not valid JSON: {error.msg} (column {error.colno})", "Mend the line or delete it.")
    except (RecursionError, orjson.JSONEncodeError) as error:
        return BadRow(f"is not usable JSON: {error}", "Mend the line or delete it.")
