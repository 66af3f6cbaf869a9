"""What MinerU made of a PDF: its *_content_list.json, in reading order with pages; running heads and page numbers are left
out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed, plural
from luthier.documents.readers.decode import decode
from luthier.documents.readers.html import html_to_markdown
from luthier.errors import DataError

LEFT_OUT = ("header", "footer", "page_number", "discarded", "aside_text", "page_footnote_number")
PICTURES = ("image", "chart")


def read_mineru(path: Path, options: Mapping[str, Any]) -> Parsed:
    text, _ = decode(path)
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path.name} is no valid JSON: {error}.", "Run MinerU again.") from None
    return parse_items(items, path.name.removesuffix("_content_list.json"), path.name)


def parse_items(items: Any, stem: str, name: str, version: str = "") -> Parsed:
    """A content list as Parsed. version: of MinerU, where it says so. Raises DataError where it is none."""
    if not isinstance(items, list) or not all(isinstance(item, dict) and "type" in item for item in items):
        raise DataError(f"{name} is no content list of MinerU.", "Give the folder that MinerU wrote.")
    body, pages, left, pictures = "", [], 0, 0
    for item in items:
        if item["type"] in LEFT_OUT:
            left += 1
            continue
        part = _part(item)
        pictures += item["type"] in PICTURES
        if not part:
            continue
        page = int(item.get("page_idx", 0)) + 1
        if not pages or pages[-1][1] != page:
            pages.append((len(body), page))
        body += part + "\n\n"
    if not body:
        raise DataError(f"{name} has no text.", "Look whether MinerU read the pages (a scan needs its OCR).")
    title = next((str(item.get("text", "")).strip() for item in items if item.get("text_level")), stem)
    count = 1 + max(int(item.get("page_idx", 0)) for item in items)
    notes = [f"{plural(left, 'running head or page number')} left out"] if left else []
    notes += [f"{plural(pictures, 'picture')} left out, but for captions"] if pictures else []
    return Parsed(
        text=body,
        title=title,
        pages=tuple(pages),
        num_pages=count,
        kind="mineru",
        parser="mineru",
        version=version,
        notes=tuple(notes),
    )


def _part(item: Mapping[str, Any]) -> str:
    kind = item["type"]
    words = str(item.get("text") or "").strip()
    if kind == "table":
        table = html_to_markdown(str(item.get("table_body") or ""))[1].strip()
        return _between(item, table, ("table_caption",), ("table_footnote",))
    if kind in PICTURES:
        captions = (f"{kind}_caption", "img_caption")
        return _between(item, str(item.get("content") or "").strip(), captions, (f"{kind}_footnote", "img_footnote"))
    if kind == "code":
        code = str(item.get("code_body") or words).strip()
        return _between(item, code if code.startswith("```") else f"```\n{code}\n```", ("code_caption",), ("code_footnote",))
    if kind == "list":
        return "\n".join(f"- {str(entry).strip().removeprefix('- ')}" for entry in item.get("list_items") or []) or words
    if kind == "equation" and words and not words.startswith("$$"):
        return f"$$\n{words}\n$$"
    level = int(item.get("text_level") or 0)
    return f"{'#' * min(level, 6)} {' '.join(words.split())}" if level and words else words


def _between(item: Mapping[str, Any], body: str, above: Sequence[str], below: Sequence[str]) -> str:
    """A body with the captions and footnotes of the item's keys."""
    parts = [*(_captions(item, key) for key in above), body, *(_captions(item, key) for key in below)]
    return "\n\n".join(part for part in parts if part)


def _captions(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key) or []
    return " ".join(str(part).strip() for part in ([value] if isinstance(value, str) else value))
