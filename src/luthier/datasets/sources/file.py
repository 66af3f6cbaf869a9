"""One data file: its bytes (uncompressed on the way), its text in the right encoding, its content hash.

Enters: a path or an fsspec URL. Leaves: binary or text streams. Never reads more than it is asked for.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO

from luthier.datasets.sources.encoding import detect_encoding
from luthier.errors import DataError

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
HEAD_BYTES = 1 << 20
"""How much of a file is looked at to tell its encoding."""
SPOTS, SPOT_BYTES = 64, 1 << 16


@dataclass(frozen=True, slots=True)
class File:
    """path: a local path or a URL that fsspec understands.  forced_encoding: from dataset_info.json, else None."""

    path: str
    forced_encoding: str | None = None

    @property
    def suffix(self) -> str:
        """The kind of file: .json, .csv ... without a compression suffix, in lower case."""
        suffixes = [suffix.lower() for suffix in PurePosixPath(self.path.split("?")[0]).suffixes]
        if suffixes and suffixes[-1] in COMPRESSED:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""

    @property
    def is_compressed(self) -> bool:
        return PurePosixPath(self.path.split("?")[0]).suffix.lower() in COMPRESSED

    def open_raw(self) -> BinaryIO:
        """The bytes as they lie there."""
        if "://" in self.path:
            from luthier.datasets.sources.remote import open_url

            return open_url(self.path)
        try:
            return Path(self.path).open("rb")
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from None

    def open(self) -> BinaryIO:
        """The bytes, uncompressed."""
        raw = self.open_raw()
        ending = PurePosixPath(self.path.split("?")[0]).suffix.lower()
        if ending == ".gz":
            return gzip.GzipFile(fileobj=raw)
        if ending == ".bz2":
            return bz2.BZ2File(raw)
        if ending == ".xz":
            return lzma.LZMAFile(raw)
        if ending == ".zst":
            return _open_zstd(raw)
        return raw

    def encoding(self) -> str:
        """The codec of its text; see detect_encoding."""
        if self.forced_encoding:
            return self.forced_encoding
        with self.open() as stream:
            return detect_encoding(stream.read(HEAD_BYTES), self.path)

    def open_text(self, newline: str | None = None) -> TextIO:
        try:
            return io.TextIOWrapper(self.open(), encoding=self.encoding(), newline=newline)
        except LookupError:
            raise DataError(f'{self.path}: unknown encoding "{self.forced_encoding}".', "Use utf-8, gbk, utf-16 ...") from None

    def digest(self) -> str:
        """BLAKE2b of the bytes as they lie there; of a remote file the server's ETag or checksum where it gives one."""
        if "://" in self.path:
            from luthier.datasets.sources.remote import content_tag

            tag = content_tag(self.path)
            if tag:
                return tag
        with self.open_raw() as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    def spot_check(self) -> str:
        """BLAKE2b of a local file's size and of 64 stretches spread over it, the first and the last bytes among them."""
        if "://" in self.path:
            return self.digest()
        size = Path(self.path).stat().st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        with self.open_raw() as stream:
            for number in range(SPOTS):
                stream.seek(max(0, size - SPOT_BYTES) * number // (SPOTS - 1))
                digest.update(stream.read(SPOT_BYTES))
        return digest.hexdigest()


def _open_zstd(raw: BinaryIO) -> BinaryIO:
    """Through pyarrow, which is there anyway and, unlike others, says so when the file was cut off."""
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(raw, "zstd"), HEAD_BYTES)
