"""CSV and TSV files with a header line. Every value is text, as it stands: "007" stays "007", an empty field is empty text.

A line with too few or too many fields is a BadRow; a quote that is never closed is a DataError, since it swallows the rest.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator

from luthier.datasets.base import BadRow, RawRow
from luthier.datasets.sources.file import File
from luthier.errors import DataError


def read_csv(file: File) -> Iterator[RawRow]:
    return _read(file, ",")


def read_tsv(file: File) -> Iterator[RawRow]:
    return _read(file, "\t")


def _read(file: File, delimiter: str) -> Iterator[RawRow]:
    """Rows numbered from 1, the header not counted."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the module's own limit of 128 KB would refuse long answers
    with file.open_text(newline="") as stream:
        lines = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = _header(next(lines, []), file)
            number = 0
            for values in lines:
                if not values:
                    continue  # an empty line
                number += 1
                yield number, _row(header, values)
        except csv.Error as error:
            raise DataError(
                f"{file.path} line {lines.line_num} is not valid {file.suffix[1:].upper()}: {error}.",
                'A field with quotes or line breaks stands in "...", and a quote inside it is doubled.',
            ) from None


def _header(names: list[str], file: File) -> list[str]:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(f"{file.path}: the header names {', '.join(sorted(map(repr, twice)))} twice.", "Rename one of them.")
    return names


def _row(header: list[str], values: list[str]) -> dict[str, str] | BadRow:
    if len(values) == len(header):
        return dict(zip(header, values))
    return BadRow(f"has {len(values)} fields where the header has {len(header)}", 'Put fields that hold a separator in "...".')
