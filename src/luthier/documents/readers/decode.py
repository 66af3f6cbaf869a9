"""Bytes of a text file to characters, whatever the encoding; a file that is no text is an error by name."""

from __future__ import annotations

import codecs
from pathlib import Path

from luthier.errors import DataError

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 200_000


def decode(path: Path) -> tuple[str, tuple[str, ...]]:
    """(text, notes). Line ends stay as they are. Raises DataError for an empty or a binary file."""
    data = path.read_bytes()
    if not data.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise DataError(f"{path.name} is empty.", "Give a file with text in it.")
    for bom, name in BOMS:
        if data.startswith(bom):
            return _strict(data, name, path), ("the byte order mark was left out",) if name == "utf-8-sig" else (
                f"encoding {name}",
            )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _guess(data, path)
    if text.count("\0") > len(text) // 1000:
        raise DataError(f"{path.name} is no text file: it is full of NUL bytes.", "Give it the file extension of what it is.")
    return text, ()


def _strict(data: bytes, name: str, path: Path) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is broken {name} text at byte {error.start:,}.", "Save it again as UTF-8.") from None


def _guess(data: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    if data[:SAMPLE_BYTES].count(0) > 8:
        raise DataError(f"{path.name} is no text file.", "Give it the file extension of what it is.")
    try:
        text = data.decode("gb18030")
        common = sum("\u4e00" <= char <= "\u9fa5" for char in text[:5000])
        if common > 0.3 * len(text[:5000].replace(" ", "")):
            return text, ("encoding gb18030",)
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    best = from_bytes(data[:SAMPLE_BYTES]).best()
    if best is None:
        raise DataError(f"{path.name} is no text in any known encoding.", "Save it as UTF-8.")
    try:
        return data.decode(best.encoding), (f"encoding {best.encoding}, guessed",)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} looks like {best.encoding}, but byte {error.start:,} is not.", "Save it as UTF-8."
        ) from None
