"""Parquet and Arrow files (IPC stream or file), read in small batches so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from luthier.datasets.base import RawRow
from luthier.datasets.sources.file import File
from luthier.errors import DataError

BATCH_ROWS = 1000


def read_parquet(file: File) -> Iterator[RawRow]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with file.open() as stream:
        try:
            yield from _rows(ParquetFile(stream).iter_batches(batch_size=BATCH_ROWS))
        except pa.ArrowException as error:
            raise _broken(file, error) from None


def read_arrow(file: File) -> Iterator[RawRow]:
    import pyarrow as pa

    with file.open() as stream:
        try:
            is_file = stream.read(6) == b"ARROW1"
            stream.seek(0)
            if is_file:
                reader = pa.ipc.open_file(stream)
                yield from _rows(reader.get_batch(index) for index in range(reader.num_record_batches))
            else:
                yield from _rows(pa.ipc.open_stream(stream))
        except pa.ArrowException as error:
            raise _broken(file, error) from None


def _rows(batches: Iterable) -> Iterator[RawRow]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for row in batch.slice(start, BATCH_ROWS).to_pylist():
                number += 1
                yield number, row


def _broken(file: File, error: Exception) -> DataError:
    kind = file.suffix[1:]
    return DataError(
        f"{file.path} is not a readable {kind} file: {error}.", "It is damaged or of another kind; write it again."
    )
