"""HTML to Markdown: headings, lists, tables and code stay what they are; scripts, navigation and footers are left out and
counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.documents.base import Parsed
from luthier.documents.readers.decode import decode

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

SILENT = ("script", "style", "noscript", "template", "head", "svg")
LEFT_OUT = ("nav", "footer")
LANGUAGE = re.compile(r"(?:language|lang|brush|highlight)[-: ]+([\w+#-]+)")


def read_html(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, notes = decode(path)
    title, body, more = html_to_markdown(text)
    return Parsed(
        text=body,
        title=title or path.stem,
        kind="html",
        parser="markdownify",
        version=version("markdownify"),
        notes=(*notes, *more),
    )


def html_to_markdown(html: str) -> tuple[str, str, tuple[str, ...]]:
    """(title, Markdown, notes)."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup(SILENT):
        tag.decompose()
    notes = tuple(f"left out: {len(found)} <{name}>" for name in LEFT_OUT if (found := soup(name)))
    for tag in soup(LEFT_OUT):
        tag.decompose()
    if not title and (heading := soup.find(["h1", "h2"])):
        title = heading.get_text(" ", strip=True)
    return title, soup_to_markdown(soup), notes


def soup_to_markdown(soup: BeautifulSoup) -> str:
    """Markdown with one blank line between blocks."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """A bar inside a cell is escaped, in code too: there as well it would end the cell (GFM, tables, example 200)."""

        def convert_td(self, el: Any, text: str, parent_tags: set[str]) -> str:
            return super().convert_td(el, text.replace("|", "\\|"), parent_tags)

        def convert_th(self, el: Any, text: str, parent_tags: set[str]) -> str:
            return super().convert_th(el, text.replace("|", "\\|"), parent_tags)

    converter = Converter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        table_infer_header=True,
        code_language_callback=_language,
    )
    text = converter.convert_soup(soup)
    text = re.sub(r"[ \t\u00a0]+\n", "\n", text.replace("\r\n", "\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _language(element: Any) -> str:
    classes = " ".join(element.get("class") or ())
    inner = element.find("code")
    if inner is not None:
        classes += " " + " ".join(inner.get("class") or ())
    found = LANGUAGE.search(classes)
    return found.group(1) if found else ""
