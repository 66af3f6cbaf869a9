"""The contracts of the dataset leaves: a source gives raw rows, a format turns one into a sample.

dataset_info.json entry -> Source.rows() -> (file, row number, raw row) -> Format.convert() -> Sample
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from luthier.types import Origin, Sample


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read at all, but after which reading goes on."""

    problem: str
    remedy: str | None = None


RawRow = tuple[int, "Mapping[str, Any] | BadRow"]
"""Row number, counted from 1 in its file, and the row."""


class Source(Protocol):
    """Where the rows of one dataset come from."""

    def rows(self) -> Iterator[tuple[str, int, Mapping[str, Any] | BadRow]]:
        """(file, row number, row), lazily and always in the same order. Raises DataError where reading cannot go on."""
        ...

    def fingerprint(self) -> str:
        """A hash of the content: equal for equal bytes, whatever the file times say."""
        ...


class Format(Protocol):
    """One row format (alpaca, sharegpt, openai, text), made from an entry: FORMATS[entry.formatting](entry, wants)."""

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Sample:
        """The sample of one row, of the class that was wanted.

        Raises DataError naming origin, the key and the remedy; never drops anything in silence.
        """
        ...
