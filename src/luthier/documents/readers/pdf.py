"""PDF files: liteparse gives each page as Markdown, pypdfium2 the bookmarks; pdf_repair.py mends headings and running heads.

A scan (pages without text) is an error that says so; single pages without text are named in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed, joined, plural
from luthier.documents.readers.pdf_page import page_with_tables
from luthier.documents.readers.pdf_repair import FEW_BOOKMARKS, repair_pages
from luthier.documents.readers.pdf_sizes import Bookmark, headings_by_size
from luthier.documents.readers.pdf_words import WHOLE_WORD
from luthier.errors import DataError

LEAST_CHARS = 12
SCAN_SHARE = 0.8
NO_PAGES = re.compile(rb"/Type\s*/Pages\b[^>]*/Count\s+0\b|/Count\s+0\b[^>]*/Type\s*/Pages\b")


def read_pdf(path: Path, options: Mapping[str, Any]) -> Parsed:
    if options.get("mineru_url"):
        from luthier.documents.readers.mineru_server import read_with_mineru

        return read_with_mineru(path, str(options["mineru_url"]), float(options.get("mineru_timeout_s", 3600)))
    marks, title, count = _outline(path, int(options.get("max_pages", 20_000)))
    found, large = _pages(path, count, with_sizes=len(marks) < FEW_BOOKMARKS)
    unread = [number for number, page in enumerate(found, start=1) if page is None]
    pages = [page or "" for page in found]
    empty = [number for number, page in enumerate(pages, start=1) if len("".join(page.split())) < LEAST_CHARS]
    if len(empty) >= SCAN_SHARE * max(1, count):
        raise DataError(
            f"{path.name} is a scan: {len(empty)} of {plural(count, 'page')} have no text.",
            "Give it to MinerU or another OCR first and add what that writes (or set parse.mineru_url).",
        )
    notes = (
        [f"{plural(len(empty), 'page')} without text (pictures, or scanned): {joined(map(str, empty), 10)}"] if empty else []
    )
    if unread:
        notes.append(f"{plural(len(unread), 'page')} could not be read: {joined(map(str, unread), 10)}")
    more: list[str] = []
    if options.get("repair", True):
        pages, more = repair_pages(pages, marks, large)
    text, starts = join_pages(pages)
    return Parsed(
        text=text,
        title=title or path.stem,
        pages=tuple(starts),
        num_pages=count,
        kind="pdf",
        parser="liteparse",
        version=version("liteparse"),
        notes=(*notes, *more),
    )


def _outline(path: Path, max_pages: int) -> tuple[list[Bookmark], str, int]:
    """(bookmarks, title, number of pages). Raises DataError for what cannot be opened."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise _unopened(path, str(error)) from None
    try:
        count = len(document)
        if not count:
            raise DataError(f"{path.name} has no pages.", "Nothing to read.")
        if count > max_pages:
            raise DataError(
                f"{path.name} has {count:,} pages, more than {max_pages:,}.", "Raise parse.max_pages, or split the file."
            )
        marks = []
        for mark in document.get_toc(max_depth=8):
            target = mark.get_dest()
            if target is not None and target.get_index() is not None:
                marks.append(Bookmark(" ".join(mark.get_title().split()), mark.level + 1, target.get_index()))
        title = document.get_metadata_value("Title").strip()
    finally:
        document.close()
    return marks, title, count


def _unopened(path: Path, said: str) -> DataError:
    """PDFium repeats the reason of the file before where it has none, so the bytes have the first word."""
    data = path.read_bytes()
    if b"/Encrypt" in data and "password" in said.lower():
        return DataError(f"{path.name} is protected by a password.", "Save a copy without the password.")
    if NO_PAGES.search(data):
        return DataError(f"{path.name} has no pages.", "Nothing to read.")
    return DataError(f"{path.name} is a broken PDF file: {said.rstrip('.')}.", "Download it again, or print it to a new PDF.")


def _pages(path: Path, count: int, with_sizes: bool) -> tuple[list[str | None], list[Bookmark]]:
    """(each page as Markdown, headings by size). None for a page that cannot be read.

    Without optical recognition: what it makes of a scan must not pass for text.
    """
    from liteparse import LiteParse

    parser = LiteParse(
        output_format="markdown",
        ocr_enabled=False,
        quiet=True,
        num_workers=1,
        continue_on_page_error=True,
        max_pages=count,  # it stops after 1,000 otherwise, and says nothing
        keep_headers_footers=True,  # what comes again on every page may be the text of forms; pdf_repair.py decides
        extract_vector_graphics=True,
        extract_blocks=True,
        emit_word_boxes=True,
    )
    try:
        result = parser.parse(path.read_bytes())  # by its bytes: a path is judged by its name
    except Exception as error:  # liteparse has errors of several kinds
        raise DataError(f"{path.name} is a broken PDF file: {error}.", "Download it again, or print it to a new PDF.") from None
    read = {page.page_num: page for page in result.pages}
    texts = {number: page.markdown or page.text or "" for number, page in read.items()}
    known = frozenset(word.lower() for text in texts.values() for word in WHOLE_WORD.findall(text))
    pages = [
        page_with_tables(read[number], known) or texts[number] if number in read else None for number in range(1, count + 1)
    ]
    return pages, headings_by_size(result.pages) if with_sizes else []


def join_pages(pages: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """(text, where each page begins). A paragraph that goes on at the top of the next page is made whole."""
    text, starts = "", []
    parts: list[str] = []
    size = 0
    for number, page in enumerate(pages, start=1):
        page = page.strip("\n")
        if parts and page:
            gap = _gap(parts[-1], page)
            parts.append(gap)
            size += len(gap)
        starts.append((size, number))
        if page:
            parts.append(page)
            size += len(page)
    text = "".join(parts)
    return text + "\n", starts


def _gap(before: str, after: str) -> str:
    """What stands between two pages: nothing or a blank inside a sentence, else an empty line."""
    last, first = before.rstrip().rpartition("\n")[2], after.lstrip().partition("\n")[0]
    if (
        not last
        or not first
        or last.startswith(("#", "|", "```", "-", ">", "*"))
        or first.startswith(("#", "|", "```", "-", ">", "*"))
    ):
        return "\n\n"
    if first[0].islower() and (last[-1].isalnum() or last[-1] in ",;"):
        return " "
    if "\u4e00" <= last[-1] <= "\u9fff" and "\u4e00" <= first[0] <= "\u9fff" and len(last) > 20:
        return ""
    return "\n\n"
