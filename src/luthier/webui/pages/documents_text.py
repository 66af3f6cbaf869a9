"""The parsed text in its chunks, beside the page or file that it came from; chunks are cut and joined by hand.

Enters: a Desk, a document, a place in it.  Leaves: other cuts; the words themselves never change, and every span stays exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import ui

from luthier.documents.project import Project
from luthier.documents.steps.chunk import cleaning_of, merge_chunks, split_chunk
from luthier.documents.steps.split import require_split
from luthier.errors import LuthierError
from luthier.webui.documentdesk import Desk
from luthier.webui.documentviews import Window, chunks_in, pieces, source_text, windows
from luthier.webui.markdown import to_html
from luthier.webui.pagepictures import address, picture_html
from luthier.webui.pages.documents_sources import documents_of
from luthier.webui.parts import button, card, dialog, empty, icon_button, text_block
from luthier.workflows import documents

LONGEST_LABEL = 60


class Text:
    """document: its id, None for the first.  at: a character to show."""

    def __init__(self, desk: Desk, document: str | None = None, at: int | None = None):
        self.desk, self.page = desk, desk.page
        self.wanted, self.at = document, at
        self.number = 0
        self.reads = False

    async def draw(self) -> None:
        t = self.page.t
        rows = await self.desk.ask(documents_of)
        if not rows:
            empty(self.page, "docs.no_text", "docs.no_text.hint")
            return
        self.rows = {row["id"]: row for row in rows}
        kept = self.wanted or self.page.store.get("documents.document")
        self.row = self.rows.get(kept) or rows[0]  # type: ignore[arg-type]
        with ui.element("div").classes("row-8 apart"):
            names = {id: row["name"] for id, row in self.rows.items()}
            which = ui.select(names, value=self.row["id"]).classes("docs-which")
            which.props(f'outlined dense options-dense aria-label="{t("docs.document")}" data-test="document"')
            which.on_value_change(lambda event: self._choose(event.value))
            with ui.element("div").classes("row-8 nowrap"):
                icon_button(t("previous"), "left", lambda: self._move(-1))
                self.where = ui.html("", sanitize=False, tag="span").props('role="status" data-test="where"')
                icon_button(t("next"), "right", lambda: self._move(1)).props('data-test="next-window"')
                self.jump = ui.input(placeholder=t("docs.go_to")).classes("docs-jump")
                self.jump.props(f'outlined dense inputmode=numeric aria-label="{t("docs.go_to")}" data-test="jump"')
                self.jump.on("keydown.enter", self._jump)
        self.place = ui.element("div").classes("two docs-beside")
        await self._choose(self.row["id"], self.at)

    async def _choose(self, id: str, at: int | None = None) -> None:
        found = await self.desk.ask(lambda project: windows(project, id))
        self.row, self.windows, self.number = self.rows[id], found, 0
        self.page.store["documents.document"] = id
        if at is not None:
            self.number = max((n for n, one in enumerate(self.windows) if one.start <= at), default=0)
        await self._show()

    async def _move(self, by: int) -> None:
        self.number = min(max(0, self.number + by), len(self.windows) - 1)
        await self._show()

    async def _jump(self) -> None:
        """To the page, or part, whose number was typed."""
        if (self.jump.value or "").strip().isdigit():
            wanted = int(self.jump.value)
            by_page = {window.page: number for number, window in enumerate(self.windows) if window.page}
            self.number = by_page.get(wanted, min(max(0, wanted - 1), len(self.windows) - 1))
            await self._show()

    async def _show(self) -> None:
        t, window = self.page.t, self.windows[self.number]
        chunks, text, source = await self.desk.ask(self._look)
        key = "docs.page_of" if window.page else "docs.part_of"
        number, total = (window.page or self.number + 1), (self.row["num_pages"] if window.page else len(self.windows))
        self.where.set_content(escape(t(key, number=number, total=total)))
        self.place.clear()
        with self.place:
            with ui.element("div").classes("col-8").props('data-test="chunks"'):
                if not chunks:
                    text_block(t("docs.no_chunks"), "muted")
                for chunk in chunks:
                    self._chunk(chunk, text)
            with ui.element("div").classes("docs-source"):
                self._source(window, text, source)

    def _look(self, project: Project) -> tuple[list[dict[str, Any]], str, str | None]:
        chunks = chunks_in(project, self.row["id"], self.windows[self.number])
        for chunk in chunks:
            chunk["cleaning"] = cleaning_of(project, chunk["id"]) if chunk["cleaned"] is not None else ""
        text = project.text(self.row["text_sha"])
        source = None if self.row["kind"] in ("pdf", "markdown") else source_text(project, self.row)
        return chunks, text, source

    # ---- chunks ----

    def _chunk(self, chunk: Mapping[str, Any], text: str) -> None:
        t = self.page.t
        start, end = chunk["start"], chunk["end"]
        with ui.element("article").classes("chunk").props(f'data-test="chunk" data-start="{start}" data-end="{end}"'):
            with ui.element("div").classes("row-8 apart"):
                path = " › ".join(json.loads(chunk["path"])) or t("docs.no_section")
                text_block(f"{chunk['number']} · {path}", "strong small break grow")
                ui.html(f'<span class="chip">{escape(t("docs.split." + (chunk["split"] or "none")))}</span>', sanitize=False)
            said = text[start:end]
            ui.html(escape(said), sanitize=False).classes("chunktext")
            if chunk["cleaning"]:
                ui.html(
                    f'<details><summary class="small muted">{escape(t("docs.cleaned"))}</summary>'
                    f'<pre class="code">{escape(chunk["cleaning"])}</pre></details>',
                    sanitize=False,
                )
            with ui.element("div").classes("row-8 apart"):
                text_block(
                    t("docs.chunk.size", chars=f"{end - start:,}", tokens=f"{chunk['tokens']:,}", rows=chunk["rows"]),
                    "small muted num",
                )
                with ui.element("div").classes("row-8 nowrap"):
                    name = f'aria-label="{escape(t("docs.cut.label", number=chunk["number"]), quote=True)}"'
                    button(t("docs.cut"), lambda: self._ask_where(chunk, text), tiny=True).props(f'{name} data-test="cut"')
                    if chunk["next"]:
                        name = f'aria-label="{escape(t("docs.join.label", number=chunk["number"]), quote=True)}"'
                        button(t("docs.join"), lambda: self._join(chunk), tiny=True).props(f'{name} data-test="join"')

    def _ask_where(self, chunk: Mapping[str, Any], text: str) -> None:
        t = self.page.t
        parts = pieces(text, chunk["start"], chunk["end"])
        with dialog(t("docs.cut.title")) as opened:
            if len(parts) < 2:
                text_block(t("docs.cut.nowhere"), "muted")
            else:
                text_block(t("docs.cut.hint"), "muted")
            with ui.element("div").classes("cutter").props('data-test="cutter"'):
                for number, (start, end) in enumerate(parts):
                    text_block(text[start:end].strip("\n").removeprefix(" "), "piece")
                    if number + 1 < len(parts):
                        label = t("docs.cut.after", words=" ".join(text[start:end].split())[-LONGEST_LABEL:])
                        made = button(t("docs.cut.here"), self._cutter(chunk, end, opened), tiny=True)
                        made.classes("cut-here").props(f'data-at="{end}"').props["aria-label"] = label
            with ui.element("div").classes("row-8 end"):
                button(t("close"), opened.close)

    def _cutter(self, chunk: Mapping[str, Any], at: int, opened: ui.dialog) -> Callable[[], Any]:
        async def do() -> None:
            opened.close()
            await self._change(lambda project: split_chunk(project, chunk["id"], at), "docs.cut.done")

        return do

    async def _join(self, chunk: Mapping[str, Any]) -> None:
        await self._change(lambda project: merge_chunks(project, chunk["id"], chunk["next"]), "docs.join.done")

    async def _change(self, action: Callable[[Project], None], done: str) -> None:
        at = self.windows[self.number].start

        def do(project: Project) -> None:
            action(project)
            documents.chunk(project)
            require_split(project)

        try:
            await self.desk.change(do)
        except LuthierError as error:
            self.page.complain(error)
            return
        self.page.tell(done)
        await self._choose(self.row["id"], at)
        await self.desk.look_again()

    # ---- where it came from ----

    def _source(self, window: Window, text: str, source: str | None) -> None:
        t, row = self.page.t, self.row
        if row["kind"] == "pdf" and window.page:
            url = address(str(self.desk.folder), row["id"], window.page, version=row["sha256"])
            alt = t("docs.page_picture", page=window.page, name=row["name"])
            ui.html(picture_html(url, alt), sanitize=False)
            return
        shown = text[window.start : window.end]
        if source is None:
            with card(t("docs.reads"), t("docs.reads.hint")):
                ui.html(to_html(shown)).classes("prose").props('tabindex="0" data-test="prose"')
            return
        with card(t("docs.file"), row["name"]):
            ui.html(escape(source), sanitize=False, tag="pre").classes("code docs-file").props('tabindex="0" data-test="file"')
