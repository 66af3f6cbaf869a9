"""The documents of a project: upload, add a folder, see what could not be read and why, take out.

Enters: a Desk.  Leaves: copies in the project's own folder; a job that reads them. A wrong file is refused with its reason.
"""

from __future__ import annotations

import json
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from nicegui import events, ui
from nicegui import run as background

from luthier.documents.project import Project, add_files, remove_document
from luthier.documents.readers import SUFFIXES
from luthier.errors import DataError, LuthierError
from luthier.runtime.files import size_text
from luthier.webui import documentjobs
from luthier.webui.documentdesk import Desk
from luthier.webui.parts import button, card, confirm, empty, icon_button, take_drops, text_block
from luthier.webui.paths import safe_name
from luthier.webui.settings import MB, Settings
from luthier.webui.words import translate

LOOKS = {"parsed": "good", "failed": "bad", "new": "warn"}
MOST_SHOWN = 200
MOST_LINKS = 100_000


class Sources:
    """What is in the project, and how more comes in."""

    def __init__(self, desk: Desk):
        self.desk, self.page = desk, desk.page

    async def draw(self) -> None:
        t = self.page.t
        limit = self.page.settings.upload_mb
        with ui.element("div").classes("two"):
            with card(t("docs.upload"), t("docs.upload.hint", mb=limit)):
                upload = ui.upload(
                    auto_upload=True,
                    multiple=True,
                    max_file_size=limit * MB,
                    max_total_size=limit * MB,
                    on_multi_upload=self._take,
                )
                take_drops(upload, t("upload.drop"), t("upload.choose"))
                upload.classes("wide").props(f'flat accept="{",".join(sorted(SUFFIXES))}" data-test="documents"')
                upload.on_rejected(lambda: self.page.complain(t("docs.upload.refused", mb=limit, kinds=_kinds())))
            with card(t("docs.folder"), t("docs.folder.hint")), ui.element("div").classes("col-8"):
                with ui.element("div").classes("row-8 nowrap"):
                    path = ui.input(placeholder="docs/").classes("grow")
                    path.props(f'outlined dense aria-label="{t("docs.folder")}" data-test="folder"')
                    button(t("docs.folder.add"), lambda: self._add_folder(path.value or ""), drawing="folder").props(
                        'data-test="add-folder"'
                    )
                text_block(t("docs.kinds", kinds=_kinds()), "small muted break")
        self.list = ui.element("div").classes("col-8")
        await self._draw_list()

    async def _draw_list(self) -> None:
        t = self.page.t
        rows = await self.desk.ask(lambda project: list(map(dict, project.store.all("SELECT * FROM document ORDER BY name"))))
        self.list.clear()
        with self.list:
            if not rows:
                empty(self.page, "docs.no_documents", "docs.no_documents.hint")
                return
            with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain").props('data-test="sources"'):
                with ui.element("thead"), ui.element("tr"):
                    for name, side in (("document", ""), ("kind", ""), ("pages", "num"), ("chars", "num"), ("size", "num")):
                        text_block(t(f"docs.{name}"), side, "th").props("scope=col")
                    text_block(t("docs.state"), tag="th").props("scope=col")
                    ui.html(f'<span class="sr">{escape(t("data.actions"))}</span>', sanitize=False, tag="th")
                with ui.element("tbody"):
                    for row in sorted(rows, key=lambda row: row["state"] != "failed")[:MOST_SHOWN]:
                        self._line(row)
            if len(rows) > MOST_SHOWN:
                text_block(t("docs.more", count=len(rows) - MOST_SHOWN), "muted small")

    def _line(self, row: dict[str, Any]) -> None:
        t, state = self.page.t, row["state"]
        said = [row["problem"]] if row["problem"] else json.loads(row["notes"])
        with ui.element("tr"):
            with ui.element("td"):
                text_block(row["name"], "strong break")
                for text in said:
                    lines = "\n".join(translate(self.page.lang, line) for line in text.splitlines())
                    text_block(lines, f"small {'red' if row['problem'] else 'muted'}").style("white-space: pre-line")
            text_block(row["kind"] or "–", tag="td")
            text_block(f"{row['num_pages']:,}" if row["num_pages"] else "–", "num", "td")
            text_block(f"{row['num_chars']:,}" if row["num_chars"] else "–", "num", "td")
            text_block(size_text(row["num_bytes"]), "num", "td")
            ui.html(f'<span class="chip {LOOKS[state]}">{escape(t("docs.state." + state))}</span>', sanitize=False, tag="td")
            with ui.element("td"), ui.element("div").classes("row-8 nowrap end"):
                if state == "parsed":
                    button(t("docs.open_text"), lambda: self.desk.go("text", document=row["id"]), tiny=True).props(
                        'data-test="open-text"'
                    )
                label = f"{t('docs.remove')}: {row['name']}"
                icon_button(label, "delete", lambda: self._remove(row["name"]), tiny=True)

    # ---- coming in ----

    async def _take(self, event: events.MultiUploadEventArguments) -> None:
        with tempfile.TemporaryDirectory(prefix="luthier-upload-") as place:
            files = []
            try:
                for one in event.files:
                    target = Path(place) / _readable(one.name)
                    await one.save(target)
                    files.append(target)
                await self._add(files)
            except LuthierError as error:
                self.page.complain(self._words(error))
        event.sender.reset()  # type: ignore[attr-defined]

    async def _add_folder(self, path: str) -> None:
        try:
            if not path.strip():
                raise DataError("no folder is given.", "Write its path, as seen from where the page was started.")
            real = self.page.settings.allow(path.strip(), self.page.t("docs.folder"))
            if real.is_relative_to(self.desk.folder):
                raise DataError("the folder is a part of this project.", "Add the folder in which your own files are.")
            await background.io_bound(_refuse_links, real, self.page.settings)
            await self._add([real])
        except LuthierError as error:
            self.page.complain(error)

    async def _add(self, paths: list[Path]) -> None:
        """Copy them in, and read them."""
        changed, notes = await self.desk.change(lambda project: add_files(project, paths))
        if changed:
            self.page.tell("docs.added", count=len(changed))
            await background.io_bound(documentjobs.start, self.desk.folder, "read")
        elif not notes:
            self.page.tell("docs.nothing_new")
        for note in notes[:5]:
            ui.notify(translate(self.page.lang, note), type="warning", position="top", timeout=9000, close_button="✕")
        await self._draw_list()
        await self.desk.look_again()

    async def _remove(self, name: str) -> None:
        t = self.page.t
        if await confirm(self.page, t("docs.remove"), t("docs.remove.text", name=name), t("docs.remove"), danger=True):
            try:
                await self.desk.change(lambda project: remove_document(project, name))
            except LuthierError as error:
                self.page.complain(error)
            await self._draw_list()
            await self.desk.look_again()

    def _words(self, error: LuthierError) -> str:
        if error.message == "kind":
            return self.page.t("docs.upload.kind", name=error.remedy, kinds=_kinds())
        return self.page.explain(error)


def _readable(name: str) -> str:
    """The name of an uploaded file. Raises DataError for a kind that no reader takes."""
    bare = safe_name(name)
    if Path(bare).suffix.lower() not in SUFFIXES:
        raise DataError("kind", bare)
    return bare


def _refuse_links(folder: Path, allowed: Settings) -> None:
    """Raise ConfigError for a link that leads out of the allowed folders: what it points at would be copied in."""
    for count, file in enumerate(folder.rglob("*")):
        if count > MOST_LINKS:
            return
        if file.is_symlink():
            allowed.allow(file, "the link")


def _kinds() -> str:
    """.csv, .docx ... without the many kinds of source code."""
    return ", ".join(sorted(suffix for suffix, kind in SUFFIXES.items() if kind != "code")) + " …"


def documents_of(project: Project) -> list[dict[str, Any]]:
    """The documents that were read, by name."""
    return [dict(row) for row in project.store.all("SELECT * FROM document WHERE state='parsed' ORDER BY name")]
