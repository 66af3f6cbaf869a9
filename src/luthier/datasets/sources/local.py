"""Rows of local files: one file, every data file of a folder, or a glob.

Files are read in sorted order; hidden files, dataset_info.json and files of other kinds in a folder are left alone.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.datasets.base import BadRow, RawRow
from luthier.datasets.sources import READERS
from luthier.datasets.sources.encoding import undecodable
from luthier.datasets.sources.file import File
from luthier.errors import DataError, LuthierError


class FilesSource:
    """spot_check: tell files apart by parts of them, for data that is too big to be read twice."""

    def __init__(self, files: list[File], *, spot_check: bool = False):
        self.files = files
        self.spot_check = spot_check

    def rows(self) -> Iterator[tuple[str, int, Mapping[str, Any] | BadRow]]:
        for file in self.files:
            for number, row in _readable(file):
                yield file.path, number, row

    def fingerprint(self) -> str:
        """Of names and bytes, in reading order."""
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            content = file.spot_check() if self.spot_check else file.digest()
            digest.update(f"{Path(file.path).name}\0{content}\0{file.forced_encoding}\0".encode())
        return digest.hexdigest()


def _readable(file: File) -> Iterator[RawRow]:
    """The rows of one file; what its codec or its compression raises becomes a DataError that names it."""
    number = 0
    try:
        for number, row in READERS[file.suffix](file):
            yield number, row
    except UnicodeDecodeError:
        raise undecodable(file.path, f"after row {number}") from None
    except Exception as error:  # gzip, zlib, lzma and zstandard each have errors of their own
        if isinstance(error, LuthierError) or not (file.is_compressed or isinstance(error, OSError)):
            raise
        raise DataError(
            f"{file.path} cannot be read on after row {number} ({error}).", "The file is damaged; copy or download it again."
        ) from None


def find_files(location: str, base: str, encoding: str | None, at: str) -> list[File]:
    """The files that a file_name means: a file, a folder (all data files below it) or a glob, relative to base.

    at: which dataset asks, for the DataError when nothing is found.
    """
    path = Path(base, Path(location).expanduser())
    if path.is_dir():
        found = [str(child) for child in sorted(path.rglob("*")) if child.is_file() and _is_data(child, path)]
        missing = f"{at}: the folder {path} holds no data file."
    elif path.is_file():
        if File(str(path)).suffix not in READERS:
            raise DataError(f"{at}: {path} is of an unknown kind.", f"Known: {', '.join(READERS)} (also .gz, .zst, .bz2, .xz)")
        return [File(str(path), encoding)]
    elif glob.has_magic(location):
        found = [
            name
            for name in sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
            if Path(name).is_file() and File(name).suffix in READERS
        ]
        missing = f"{at}: no data file matches {path}."
    else:
        beside = sorted(child.name for child in path.parent.glob("*") if child.is_file())[:8] if path.parent.is_dir() else []
        has = f"{path.parent} holds: {', '.join(beside)}" if beside else f"There is no folder {path.parent}."
        raise DataError(f"{at}: {path} does not exist.", has)
    if not found:
        raise DataError(missing, f"Known kinds: {', '.join(READERS)} (also .gz, .zst, .bz2, .xz)")
    return [File(name, encoding) for name in found]


def _is_data(child: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in child.relative_to(folder).parts)
    return not hidden and child.name != "dataset_info.json" and File(str(child)).suffix in READERS
