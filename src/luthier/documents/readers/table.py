"""CSV, TSV and Excel files: each sheet a heading and a Markdown table, row by row; empty rows and columns at the edges are
left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed, plural
from luthier.documents.readers.decode import decode
from luthier.errors import DataError

SAMPLE_CHARS = 20_000


def read_csv(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    try:
        dialect = csv.Sniffer().sniff(text[:SAMPLE_CHARS], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel_tab if path.suffix == ".tsv" else csv.excel
    csv.field_size_limit(10_000_000)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), dialect))
    except csv.Error as error:
        raise DataError(f"{path.name} is no CSV that can be read: {error}.", "Save it again as UTF-8 CSV.") from None
    table = table_of(rows)
    if not table:
        raise DataError(f"{path.name} has no rows.", "Nothing to read.")
    return Parsed(text=f"# {path.stem}\n\n{table}\n", title=path.stem, kind="csv", parser="own", version="1", notes=notes)


def read_xlsx(path: Path, options: Mapping[str, Any]) -> Parsed:
    import openpyxl

    try:
        data = io.BytesIO(path.read_bytes())  # by its bytes: openpyxl refuses a name that it does not like
        book = openpyxl.load_workbook(data, read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets the errors of zipfile, the XML parser and its own through
        raise DataError(f"{path.name} is a broken Excel file: {error}.", "Open it in Excel and save it again.") from None
    parts, hidden = [f"# {path.stem}"], 0
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            hidden += 1
            continue
        table = table_of([_cell(value) for value in row] for row in sheet.iter_rows(values_only=True))
        if table:
            parts.append(f"## {sheet.title}\n\n{table}")
    book.close()
    if len(parts) == 1:
        raise DataError(f"{path.name} has no cells with a value.", "Formulas need to be saved with their results.")
    notes = (f"{plural(hidden, 'hidden sheet')} left out",) if hidden else ()
    text = "\n\n".join(parts) + "\n"
    return Parsed(text=text, title=path.stem, kind="xlsx", parser="openpyxl", version=version("openpyxl"), notes=notes)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def table_of(rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; "" where there is no cell with text. The first row with text is its header."""
    cleaned = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cleaned = [row for row in cleaned if any(row)]
    if not cleaned:
        return ""
    width = max(len(row) for row in cleaned)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in cleaned)]
    lines = ["| " + " | ".join(row[column] if column < len(row) else "" for column in used) + " |" for row in cleaned]
    return "\n".join([lines[0], "|" + " --- |" * len(used), *lines[1:]])
