"""Rulers for readers of books: what the HTML edition of the same book says is held against what a reader made of the other.

Enters: HTML files of a book, and Markdown. Leaves: headings and table rows of each, and the share of one found in the other.
The HTML is read by BeautifulSoup, the Markdown by markdown-it: nothing of Luthier measures Luthier. Words are compared without
white space, punctuation and marks; a row counts where every cell of it stands there, in this order, in one row.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

SHARE = Path("/usr/share")
NUMBER = re.compile(r"^\W*(?:第\s*\d+\s*章|附录\s*[A-Z]|Chapter\s+\d+|Appendix\s+[A-Z]|[A-Z\d]+(?:\.\d+)+|\d+\.|[A-Z]\.)\W*")

NOT_IN_THE_BOOK = ("sphinxsidebar", "related", "navheader", "navfooter")


def book(*parts: str) -> list[Path]:
    """The files of a book in /usr/share, in order; [] where the package is not installed. The last part is a pattern."""
    return sorted(SHARE.joinpath(*parts[:-1]).glob(parts[-1]))


def plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).lower()


def title(text: str) -> str:
    """A heading without its number: "2.1.3. Care" and "Care" are the same."""
    return plain(NUMBER.sub("", text)) or plain(text)


def html_headings(files: Iterable[Path]) -> list[str]:
    """Titles of chapters and sections, without what stands in navigation."""
    found = []
    for file in files:
        for heading in _soup(file).find_all(re.compile(r"^h[1-6]$")):
            if {"author"} & set(heading.get("class") or ()) or heading.find_parent(class_=NOT_IN_THE_BOOK):
                continue
            if words := title(heading.get_text().rstrip("¶")):
                found.append(words)
    return found


def html_rows(files: Iterable[Path]) -> list[tuple[str, ...]]:
    """Rows of data of the tables of a book, with two filled cells or more."""
    found = []
    for file in files:
        for table in _soup(file).select("div.table table, div.informaltable table, table.docutils"):
            if table.find("table"):
                continue
            for line in table.find_all("tr"):
                row = tuple(plain(cell.get_text()) for cell in line.find_all(["td", "th"]))
                if sum(map(bool, row)) > 1:
                    found.append(row)
    return found


def markdown_headings(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [title(_words(tokens[at + 1])) for at, token in enumerate(tokens) if token.type == "heading_open"]


def markdown_rows(text: str) -> list[tuple[str, ...]]:
    found: list[list[str]] = []
    for token in (tokens := iter(MarkdownIt("commonmark").enable("table").parse(text))):
        if token.type == "tr_open":
            found.append([])
        elif token.type in ("th_open", "td_open"):
            found[-1].append(plain(_words(next(tokens))))
    return [tuple(row) for row in found]


def share(wanted: list, found: list) -> float:
    """Of what is wanted, each as often as it is wanted, so much was found."""
    return (Counter(wanted) & Counter(found)).total() / len(wanted)


def _words(token) -> str:
    return "".join(part.content for part in token.children or [] if part.type in ("text", "code_inline"))


def _soup(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
