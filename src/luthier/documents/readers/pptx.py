"""PowerPoint files: each slide a heading with its texts, tables and notes; slides are pages. Read from the XML itself."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from luthier.documents.base import Parsed
from luthier.documents.readers.table import table_of
from luthier.errors import DataError

RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
TITLES = ("title", "ctrTitle")
NOT_CONTENT = ("sldNum", "dt", "ftr", "sldImg")


def read_pptx(path: Path, options: Mapping[str, Any]) -> Parsed:
    try:
        with zipfile.ZipFile(path) as file:
            slides = [_slide(file, name, number) for number, name in enumerate(_slide_names(file), start=1)]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise DataError(f"{path.name} is a broken PowerPoint file: {error}.", "Open it and save it again.") from None
    text, pages = "", []
    for number, (title, body) in enumerate(slides, start=1):
        pages.append((len(text), number))
        text += f"## {title}\n\n" + (f"{body}\n\n" if body else "")
    if not any(body for _, body in slides) and not any(not title.startswith("Slide ") for title, _ in slides):
        raise DataError(f"{path.name} has no text: its {len(slides)} slides hold images only.", "Nothing to read.")
    title = slides[0][0] if slides else path.stem
    return Parsed(text=text, title=title, pages=tuple(pages), num_pages=len(slides), kind="pptx", parser="own", version="1")


def _slide_names(file: zipfile.ZipFile) -> list[str]:
    targets = _relations(file, "ppt/presentation.xml")
    root = ElementTree.fromstring(file.read("ppt/presentation.xml"))
    return [
        targets[slide.get(RELATION)] for slide in root.iter() if slide.tag.endswith("}sldId") and slide.get(RELATION) in targets
    ]


def _relations(file: zipfile.ZipFile, part: str) -> dict[str, str]:
    name = f"{posixpath.dirname(part)}/_rels/{posixpath.basename(part)}.rels"
    if name not in file.namelist():
        return {}
    base = posixpath.dirname(part)
    root = ElementTree.fromstring(file.read(name))
    return {
        item.get("Id", ""): posixpath.normpath(posixpath.join(base, item.get("Target", ""))).lstrip("/")
        for item in root
        if item.get("TargetMode") != "External"
    }


def _slide(file: zipfile.ZipFile, name: str, number: int) -> tuple[str, str]:
    """(title, Markdown below it)."""
    title, parts = "", []
    root = ElementTree.fromstring(file.read(name))
    for shape in root.iter():
        if shape.tag.endswith("}sp"):
            holder = next((node.get("type", "") for node in shape.iter() if node.tag.endswith("}ph")), None)
            if holder in NOT_CONTENT:
                continue
            lines = _paragraphs(shape)
            if holder in TITLES and not title:
                title = " ".join(line.strip("- ") for line in lines)
            elif lines:
                parts.append("\n".join(lines))
        elif shape.tag.endswith("}tbl"):
            rows = [[_words(cell) for cell in row if cell.tag.endswith("}tc")] for row in shape if row.tag.endswith("}tr")]
            parts.append(table_of(rows))
    notes = next((target for target in _relations(file, name).values() if re.search(r"notesSlide\d+\.xml$", target)), None)
    if notes and notes in file.namelist():
        said = [
            line.strip("- ")
            for shape in ElementTree.fromstring(file.read(notes)).iter()
            if shape.tag.endswith("}sp")
            and not any(n.get("type") in NOT_CONTENT for n in shape.iter() if n.tag.endswith("}ph"))
            for line in _paragraphs(shape)
        ]
        parts += ["\n".join(said)] if said else []
    return title or f"Slide {number}", "\n\n".join(part for part in parts if part)


def _paragraphs(shape: ElementTree.Element) -> list[str]:
    found = []
    for node in shape.iter():
        if node.tag.endswith("}p") and "drawingml" in node.tag and (words := _words(node)):
            properties = next((child for child in node if child.tag.endswith("}pPr")), None)
            level = int(properties.get("lvl", "0")) if properties is not None else 0
            found.append(f"{'  ' * level}- {words}")
    return [line.removeprefix("- ") for line in found] if len(found) == 1 else found


def _words(node: ElementTree.Element) -> str:
    return " ".join("".join(part.text or "" for part in node.iter() if part.tag.endswith("}t")).split())
