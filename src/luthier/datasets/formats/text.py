"""Plain text for pre-training: one column of each row is a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.datasets.formats.columns import media_free, need_columns
from luthier.datasets.formats.messages import text_of
from luthier.datasets.info import Entry
from luthier.types import Origin, Sample, Text


class PlainText:
    def __init__(self, entry: Entry, wants: type[Sample]):
        self.columns = entry.columns

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Sample:
        media_free(row, self.columns, origin)
        need_columns(row, self.columns, ("prompt",), origin)
        column = self.columns["prompt"]
        return Text(text=text_of(row[column], column, origin), origin=origin)
