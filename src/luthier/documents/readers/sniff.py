"""What a file is, by its bytes; the name only decides where the bytes leave it open.

Enters: a path and the kind of documents that the recipe speaks of. Leaves: a kind of READERS, and a note where the name says
otherwise. Raises DataError for what cannot be read: empty, encrypted, old binary formats, zip bombs.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from luthier.documents.readers import SUFFIXES
from luthier.errors import DataError
from luthier.runtime.files import size_text

HEAD_BYTES = 4096
MAX_UNPACKED = 1 << 30
MAX_RATIO = 200
BOMB_BYTES = 64 << 20
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ZIPPED = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
REFUSED = {
    b"\x89PNG": "an image", b"\xff\xd8\xff": "an image", b"GIF8": "an image", b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip file", b"{\\rtf": "an RTF file", b"\x7fELF": "a program", b"MZ": "a program",
}  # fmt: skip


def sniff(path: Path, name: str, wanted: str = "") -> tuple[str, tuple[str, ...]]:
    """(kind, notes). name: what the user called the file.  wanted: "chat" makes tables and texts logs of talks."""
    head = path.open("rb").read(HEAD_BYTES)
    if not head.strip(b"\0 \t\r\n"):
        raise DataError(f"{name} is empty.", "Give a file with text in it.")
    promised = SUFFIXES.get(Path(name).suffix.lower(), "")
    kind = _by_bytes(path, name, head)
    if kind is None:
        if promised in ("pdf", "docx", "xlsx", "pptx", "epub"):
            raise DataError(
                f"{name} is no {promised.upper()} file, or a broken one.", "Open it in its program and save it again."
            )
        kind = _by_text(path, head, promised, wanted)
    usual = {"data": ("chat", "openapi", "mineru", "text")}.get(promised, (promised, "chat"))
    note = f"{name} is {kind.upper() if kind != 'text' else 'text'}, whatever its name says"
    return kind, (note,) if promised and kind not in usual else ()


def _by_bytes(path: Path, name: str, head: bytes) -> str | None:
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path, name)
    if head.startswith(OLE):
        if "EncryptedPackage".encode("utf-16-le") in path.read_bytes()[: 1 << 20]:
            raise DataError(f"{name} is protected by a password.", "Save a copy without the password.")
        raise DataError(f"{name} is an old binary Office file.", "Open it and save it as .docx, .xlsx or .pptx.")
    for magic, what in REFUSED.items():
        if head.startswith(magic):
            raise DataError(f"{name} is {what}.", "Give a document; an image or a scan needs OCR first (MinerU reads them).")
    return None


def _zipped(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            names = file.namelist()
            first = file.read("mimetype") if "mimetype" in names and file.getinfo("mimetype").file_size < 100 else b""
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise DataError(f"{name} is a broken archive: {error}.", "Download or save it again.") from None
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if unpacked > MAX_UNPACKED or (unpacked > BOMB_BYTES and unpacked / packed > MAX_RATIO):
        raise DataError(
            f"{name} would unpack to {size_text(unpacked)} from {size_text(packed)}: this looks like a zip bomb.",
            "It was not opened.",
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError(f"{name} is an archive with a password.", "Save a copy without the password.")
    if first.startswith(b"application/epub"):
        return "epub"
    for prefix, kind in ZIPPED:
        if any(entry.startswith(prefix) for entry in names):
            return kind
    raise DataError(f"{name} is a zip archive of something else.", "Unpack it and add the folder.")


def _by_text(path: Path, head: bytes, promised: str, wanted: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if promised == "data":
        return _data_kind(path, wanted)
    if wanted == "chat" and promised in ("csv", "text"):
        return "chat"
    if start.startswith((b"<!doctype html", b"<html")) and promised in ("", "text", "markdown", "html"):
        return "html"
    return promised or "text"


def _data_kind(path: Path, wanted: str) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff")
    if path.suffix in (".yaml", ".yml"):
        return "openapi" if re.search(r"^(?:openapi|swagger)\s*:", text, re.MULTILINE) else "code"
    if path.suffix == ".jsonl":
        return "chat"
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return "chat" if wanted == "chat" else "text"
    if isinstance(data, dict) and ("openapi" in data or "swagger" in data):
        return "openapi"
    if isinstance(data, list) and data and isinstance(data[0], dict) and {"type", "page_idx"} <= data[0].keys():
        return "mineru"
    return "chat" if wanted == "chat" or isinstance(data, list) else "code"
