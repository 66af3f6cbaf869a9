"""Pages of PDF files as pictures: drawn by pypdfium2 in a process beside the web process, given out by one guarded route.

Enters: a project inside the allowed folders, a document of it, a page, words to mark.  Leaves: a PNG file. A broken file costs
that process, which is started anew, never the page.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import sys
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from luthier.errors import LuthierError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from luthier.webui.page import Shared

ROUTE = "/documents/page.png"
WIDTHS = (320, 1800)
RENDER_S = 30
MEMORY_MB = 2048
LONGEST_FIND = 1500
MARK = (226, 167, 72, 96)
LEAST_PIECE, PIECE_WORDS, PIECE_CHARS = 6, 5, 10
CJK = re.compile("[\u3400-\u9fff]")


def address(folder: str, document: str, page: int, *, version: str = "", find: str = "", width: int = 1100) -> str:
    """Where the picture of a page is. version: of the file, so that a browser keeps no old picture."""
    asked = {
        "project": folder,
        "document": document,
        "page": page,
        "width": width,
        "v": version[:12],
        "find": find[:LONGEST_FIND],
    }
    return f"{ROUTE}?{urlencode({key: value for key, value in asked.items() if value})}"


def picture_html(url: str, alt: str) -> str:
    """The picture, with words for those who cannot see it."""
    return f'<img class="pagepic" src="{escape(url, quote=True)}" alt="{escape(alt, quote=True)}" data-test="picture">'


def add_route(app: FastAPI, shared: Shared) -> None:
    """The route; whoever may see the Board may ask it, for documents of projects inside its folders."""
    from fastapi.responses import PlainTextResponse, Response

    @app.get(ROUTE, include_in_schema=False)
    async def picture(project: str, document: str, page: int, width: int = 1100, find: str = "") -> Response:
        try:
            asked = await asyncio.to_thread(_look_up, shared, project, document, page)
            asked |= {"width": min(max(width, WIDTHS[0]), WIDTHS[1]), "find": find[:LONGEST_FIND]}
            answer = await asyncio.wait_for(shared.pictures.call("render", **asked), RENDER_S)
        except TimeoutError:
            await shared.pictures.end()
            return PlainTextResponse("The page took too long to draw.", 504)
        except LuthierError as error:
            return PlainTextResponse(error.message, 404)
        headers = {"Cache-Control": "private, max-age=86400"}
        return Response(base64.b64decode(answer["png"]), media_type="image/png", headers=headers)


def _look_up(shared: Shared, folder: str, document: str, page: int) -> dict[str, Any]:
    """What to draw. Raises LuthierError for what is outside the folders, no project, no PDF, or no page of it."""
    from luthier.documents.project import Project

    with Project.open(shared.settings.allow(folder)) as project:
        row = project.store.one("SELECT * FROM document WHERE id=?", document)
        if row is None or row["kind"] != "pdf" or not 1 <= page <= (row["num_pages"] or 0):
            raise LuthierError("there is no such page.")
        return {"path": str(project.source(row)), "page": page}


def main() -> None:
    """The process: a JSON line in, a JSON line out, until its input ends."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            png = render(asked["path"], asked["page"], asked["width"], asked["find"])
            answer: dict[str, Any] = {"result": {"png": base64.b64encode(png).decode()}}
        except Exception as error:  # pdfium's own, memory: said, and the next page is tried
            answer = {"error": f"the page cannot be drawn: {type(error).__name__}: {error}"}
        print(json.dumps({"id": asked["id"], **answer}), flush=True)


def render(path: str, number: int, width: int, find: str = "") -> bytes:
    """A page as PNG, so many pixels wide, with the words of find marked wherever pieces of them stand."""
    import pypdfium2
    from PIL import Image, ImageDraw

    document = pypdfium2.PdfDocument(path)
    try:
        page = document[number - 1]
        scale = width / max(1.0, page.get_width())
        picture = page.render(scale=scale).to_pil().convert("RGB")
        boxes = _boxes(page, find) if find else []
        if boxes:
            layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
            draw = ImageDraw.Draw(layer)
            for left, bottom, right, top in boxes:
                high = page.get_height()
                draw.rectangle((left * scale, (high - top) * scale, right * scale, (high - bottom) * scale), fill=MARK)
            picture = Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()
    finally:
        document.close()


def _boxes(page: Any, find: str) -> list[tuple[float, float, float, float]]:
    words = page.get_textpage()
    found = []
    for piece in search_pieces(find):
        search = words.search(piece)
        hit = search.get_next()
        if hit is not None:
            found += [words.get_rect(index) for index in range(words.count_rects(*hit))]
    return found


def search_pieces(text: str) -> list[str]:
    """A quote in pieces that a line of a page is likely to hold as they are: a few words, or a few Chinese characters."""
    plain = " ".join(re.sub(r"[#*|`_>]+", " ", text).split())
    if CJK.search(plain):
        parts = re.split(r"[\s，。；：、！？（）]", plain)
        found = [part[at : at + PIECE_CHARS] for part in parts for at in range(0, len(part), PIECE_CHARS)]
        return [piece for piece in found if len(piece) >= LEAST_PIECE // 2]
    given = plain.split()
    found = [" ".join(given[at : at + PIECE_WORDS]) for at in range(0, len(given), PIECE_WORDS)]
    return [piece for piece in found if len(piece) >= LEAST_PIECE]


if __name__ == "__main__":
    main()
