"""EPUB books: the chapters in reading order, each through html.py."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from luthier.documents.base import Parsed
from luthier.documents.readers.html import html_to_markdown
from luthier.errors import DataError

CONTAINER = "META-INF/container.xml"


def read_epub(path: Path, options: Mapping[str, Any]) -> Parsed:
    try:
        with zipfile.ZipFile(path) as book:
            if "META-INF/rights.xml" in book.namelist():
                raise DataError(f"{path.name} is protected by DRM.", "Give a copy without it.")
            title, chapters = _chapters(book)
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, AttributeError) as error:
        raise DataError(f"{path.name} is a broken EPUB file: {error}.", "Download it again.") from None
    text = "\n\n".join(chapter.strip() for chapter in chapters if chapter.strip())
    if not text:
        raise DataError(f"{path.name} has no text.", "It may be made of images only.")
    return Parsed(text=text + "\n", title=title or path.stem, kind="epub", parser="own", version="1")


def _chapters(book: zipfile.ZipFile) -> tuple[str, list[str]]:
    root = _tree(book.read(CONTAINER)).find(".//{*}rootfile").get("full-path")
    package = _tree(book.read(root))
    title = package.findtext(".//{*}title") or ""
    hrefs = {item.get("id"): item.get("href") for item in package.findall(".//{*}manifest/{*}item")}
    names = [hrefs.get(item.get("idref")) for item in package.findall(".//{*}spine/{*}itemref")]
    found = []
    for name in names:
        if name:
            file = posixpath.normpath(posixpath.join(posixpath.dirname(root), unquote(name)))
            found.append(html_to_markdown(book.read(file).decode("utf-8", "replace"))[1])
    return title.strip(), found


def _tree(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(data)
