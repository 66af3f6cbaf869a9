"""Documents as the page shows them: where a chunk may be cut, a passage with its quotes marked, windows onto a long text.

Enters: texts, spans, rows of a project.  Leaves: offsets, plain values, HTML in which every foreign character is escaped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from luthier.documents.project import Project
from luthier.documents.readers.decode import decode
from luthier.documents.sentences import sentence_ends
from luthier.documents.steps.coverage import Part
from luthier.errors import LuthierError

MOST_PROJECTS = 200
LOOK_S = 3.0
DEEP = 2
CHUNKS_EACH = 8
SHOWN_SOURCE = 12_000
AROUND = 240
BINARY = ("docx", "xlsx", "pptx", "epub", "pdf")
"""Kinds whose file is no text: what stands beside the chunks is the text as it reads."""

HEAT = (0.0, 0.25, 0.5, 0.75)


class Window(NamedTuple):
    """A stretch of a document's text that is shown at once: a page, or a few chunks. page: None where there are none."""

    start: int
    end: int
    page: int | None


def find_projects(folders: Iterable[Path]) -> list[Path]:
    """Folders with a project in them, two levels deep, the ones changed last first. Gives up looking after three seconds."""
    found: dict[Path, float] = {}
    until = time.monotonic() + LOOK_S
    waiting = [(folder, 0) for folder in folders]
    while waiting and len(found) < MOST_PROJECTS and time.monotonic() < until:
        folder, depth = waiting.pop(0)
        database = folder / "project.db"
        if database.is_file() and (folder / "project.yaml").is_file():
            found[folder.resolve()] = database.stat().st_mtime
        elif depth < DEEP:
            waiting += [(Path(entry), depth + 1) for entry in _folders(folder)]
    return sorted(found, key=found.__getitem__, reverse=True)


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [one.path for one in entries if not one.name.startswith(".") and one.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The span in lines and sentences, joined without a gap: a chunk may be cut where one ends."""
    stops = {*sentence_ends(text, start, end), end}
    at = text.find("\n", start, end)
    while at >= 0:
        stops.add(at + 1)
        at = text.find("\n", at + 1, end)
    found: list[tuple[int, int]] = []
    at = start
    for stop in sorted(stops):
        if stop <= at:
            continue
        if found and text[at:stop].isspace():
            found[-1] = (found[-1][0], stop)
        else:
            found.append((at, stop))
        at = stop
    return found


def marked(text: str, start: int, end: int, spans: Iterable[tuple[int, int]]) -> str:
    """text[start:end] as HTML with the spans in <mark>, and a little of what stands around it, set back."""
    html, at = [], start
    for left, right in merged(spans):
        left, right = max(left, at), min(right, end)
        if left < right:
            html += [escape(text[at:left]), "<mark>", escape(text[left:right]), "</mark>"]
            at = right
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    around = [f'<span class="around">{escape(part)}</span>' if part.strip() else "" for part in (before, after)]
    return "".join([around[0], *html, escape(text[at:end]), around[1]])


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same characters in as few spans as it takes, ascending; spans that were not found (-1) are left out."""
    found: list[tuple[int, int]] = []
    for left, right in sorted(span for span in spans if 0 <= span[0] < span[1]):
        if found and left <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found


def windows(project: Project, document: str) -> list[Window]:
    """A document by its pages, or where it has none by groups of chunks, from its first character to its last."""
    store = project.store
    length = int(store.value("SELECT num_chars FROM document WHERE id=?", document) or 0)  # type: ignore[arg-type]
    pages = [(row[0], row[1]) for row in store.all("SELECT start, page FROM page WHERE doc=? ORDER BY start", document)]
    if not pages:
        sql = "SELECT start FROM chunk WHERE doc=? AND state='current' ORDER BY start"
        starts = [row["start"] for row in store.all(sql, document)][::CHUNKS_EACH]
        pages = [(0, None), *((start, None) for start in starts[1:])]
    ends = [start for start, _ in pages[1:]] + [length]
    return [Window(start, end, page) for (start, page), end in zip(pages, ends)]


def chunks_in(project: Project, document: str, window: Window) -> list[dict[str, Any]]:
    """The chunks that have characters in the window, each with its number, its rows and the id of the next one."""
    sql = """SELECT * FROM (SELECT chunk.*, row_number() OVER (ORDER BY start) AS number,
        lead(id) OVER (ORDER BY start) AS next,
        (SELECT count(*) FROM question JOIN answer ON answer.question=question.id WHERE question.chunk=chunk.id
         AND question.state='current' AND answer.state='current') AS rows
        FROM chunk WHERE doc=? AND state='current') WHERE start<? AND end>? ORDER BY start"""
    return [dict(row) for row in project.store.all(sql, document, window.end, window.start)]


def source_text(project: Project, row: Any) -> str | None:
    """The beginning of the file itself where it is a text, None where it is not."""
    if row["kind"] in BINARY:
        return None
    try:
        return decode(project.source(row))[0][:SHOWN_SOURCE]
    except LuthierError:
        return None


def heat(part: Part) -> int:
    """0 where no row leads to the section, else 1 to 4 by the share of its characters that rows quote."""
    if not part.rows:
        return 0
    return sum(part.proved / max(1, part.chars) >= least for least in HEAT)


def by_document(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Document -> its sections, in their order."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.document, []).append(part)
    return found
