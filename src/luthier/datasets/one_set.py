"""One dataset of the mixture: its rows through its format, sampled, bad rows collected or counted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from luthier.datasets.base import BadRow, Source
from luthier.datasets.counts import SetCounts
from luthier.datasets.formats import FORMATS
from luthier.datasets.formats.columns import column_notes
from luthier.datasets.info import MAX_NUM_SAMPLES, Entry
from luthier.errors import DataError
from luthier.types import Origin, Sample

if TYPE_CHECKING:
    from luthier.config import Config

SHOWN_BAD_ROWS = 5
SHOWN_REASONS = 20
ROWS_NOTED = 100
"""In so many first rows columns are looked for that the mapping does not use."""


class OneSet:
    """entry's rows as samples of class wants; iterated by calling samples, as often as needed."""

    def __init__(self, entry: Entry, source: Source, config: Config, wants: type[Sample]):
        self.entry = entry
        self.source = source
        self.config = config
        self.wants = wants
        self.format = FORMATS[entry.formatting](entry, wants)
        self.seed = config.seed if config.data_seed is None else config.data_seed
        self.draws_rows = entry.num_samples is not None or (config.max_samples is not None and config.max_samples_shuffle)

    def samples(self, counts: SetCounts) -> Iterator[Sample]:
        """The samples of one pass, counted in counts.

        Raises DataError when the set has no usable row; and at a bad row (on_bad_row: error) after looking through the
        rest of the set for more of them (not when streaming, where the rest may be endless).
        """
        bad: list[DataError] = []
        num_bad = 0
        limit = None if self.draws_rows else self.config.max_samples
        counts.notes += self.entry.notes
        for file, number, row in self._rows():
            counts.rows += 1
            origin = Origin(dataset=self.entry.name, file=file, row=number)
            try:
                sample = self._convert(row, origin)
            except DataError as error:
                if self.config.on_bad_row == "skip":
                    counts.skipped[_reason(error, origin, counts)] += 1
                    continue
                num_bad += 1
                bad += [error] if num_bad <= SHOWN_BAD_ROWS else []
                if self.config.streaming:
                    raise error from None
                continue
            if counts.rows <= ROWS_NOTED:
                counts.notes += [note for note in column_notes(row, self.entry, self.wants) if note not in counts.notes]
            if not num_bad:
                counts.kept += 1
                yield sample
            if limit is not None and counts.rows - counts.skipped.total() >= limit:
                break
        if num_bad:
            raise _bad_rows(self.entry.name, bad, num_bad, counts.rows)
        if not counts.kept:
            raise _empty(self.entry.name, counts)

    def fingerprint(self) -> str:
        """A hash of the rows' bytes, the entry and the keys that choose among the rows."""
        config = self.config
        entry = asdict(self.entry) | {"base": None, "notes": None, "listed": None}
        sampling = [config.max_samples, config.max_samples_shuffle, self.seed if self.draws_rows else None, config.on_bad_row]
        parts = [entry, self.source.fingerprint(), sampling, self.wants.__name__]
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()

    def _rows(self) -> Iterator[tuple[str, int, Mapping[str, Any] | BadRow]]:
        """All rows; or, where rows are drawn at random, the drawn ones in file order, repeated as often as drawn."""
        if not self.draws_rows:
            yield from self.source.rows()
            return
        times = self._draw(sum(1 for _ in self.source.rows()))
        for row, repeats in zip(self.source.rows(), times.tolist()):
            for _ in range(repeats):
                yield row

    def _draw(self, total: int) -> np.ndarray:
        """How often each of total rows is used. num_samples beyond total adds rows drawn with replacement."""
        rng = np.random.default_rng(self.seed)
        wanted = min(self.entry.num_samples or total, self.config.max_samples or MAX_NUM_SAMPLES)
        times = np.bincount(rng.permutation(total)[:wanted], minlength=total)
        if total and wanted > total:
            times += rng.multinomial(wanted - total, np.full(total, 1 / total))
        return times

    def _convert(self, row: Mapping[str, Any] | BadRow, origin: Origin) -> Sample:
        if isinstance(row, BadRow):
            raise DataError(f"{origin} {row.problem}.", row.remedy)
        if not isinstance(row, Mapping):
            raise DataError(f"{origin} is not an object: {str(row)[:60]!r}.", 'A row is {"key": value, ...}.')
        return self.format.convert(row, origin)


def _reason(error: DataError, origin: Origin, counts: SetCounts) -> str:
    """The message without the row and its particulars, so that rows bad in the same way are counted together."""
    text = error.message.removeprefix(f"{origin} ").split(" (")[0].rstrip(".")
    text = re.sub(r"\d+", "N", text)
    return text if text in counts.skipped or len(counts.skipped) < SHOWN_REASONS else "other reasons"


def _bad_rows(name: str, shown: list[DataError], total: int, rows: int) -> DataError:
    if total == 1:
        return shown[0]
    lines = "\n  ".join(error.message for error in shown)
    more = f"\n  ... and {total - len(shown):,} more" if total > len(shown) else ""
    remedy = (shown[0].remedy or "Mend the rows.") + " Or set on_bad_row: skip to leave bad rows out (they are counted)."
    return DataError(f'dataset "{name}" has {total:,} bad rows of {rows:,}:\n  {lines}{more}', remedy)


def _empty(name: str, counts: SetCounts) -> DataError:
    if not counts.rows:
        return DataError(f'dataset "{name}" is empty: its files hold no row.', "Add rows, or take it out of dataset.")
    reasons = "; ".join(f"{count:,} x {reason}" for reason, count in counts.skipped.most_common(SHOWN_BAD_ROWS))
    return DataError(
        f'dataset "{name}" has no usable row: all {counts.rows:,} were skipped ({reasons}).', "Mend them, or its columns."
    )
