"""Data: the registered datasets as a table; add, look inside, check, edit, split, mix.

Enters: a Page.  Leaves: files in the data folder, entries in dataset_info.json.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import orjson
from nicegui import events, ui
from nicegui import run as background

from luthier.datasets.info import parse_entry
from luthier.datasets.lookup import INFO_FILE, read_info
from luthier.errors import DataError, LuthierError
from luthier.runtime.files import size_text
from luthier.webui import datafiles, layout
from luthier.webui.charts import bar_chart
from luthier.webui.datapicker import look_inside, registered
from luthier.webui.form import Form
from luthier.webui.page import Page
from luthier.webui.parts import button, confirm, dialog, empty, icon_button, plain_table, take_drops, text_block
from luthier.webui.settings import MB
from luthier.webui.words import translate
from luthier.workflows.data import Listed, register

FOLDER = "data"


async def build(page: Page) -> None:
    """Draw the page."""
    DataPage(page)


class DataPage:
    """The table above; what is done to one dataset opens over it."""

    def __init__(self, page: Page):
        self.page = page
        self.train = page.form("train", layout.start("train"))
        with ui.element("div").classes("pagehead"):
            text_block(page.t("nav.data"), tag="h1")
            text_block(page.t("data.intro", folder=self.folder), tag="p")
        with ui.element("div").classes("row-8"):
            button(page.t("data.add"), self._add, drawing="plus", kind="main").props('data-test="add"')
            button(page.t("data.mix"), self._mix).props('data-test="mix"')
        self.list = ui.element("div").classes("col-8")
        self._draw()

    @property
    def folder(self) -> str:
        """The data folder that the Train page uses too."""
        value = self.train.get("dataset_dir")
        return value if isinstance(value, str) and value not in ("ONLINE",) and not value.startswith("REMOTE:") else FOLDER

    def _path(self) -> Path:
        return self.page.settings.allow(self.folder, self.page.t("data.folder"))

    # ---- the table ----

    def _draw(self) -> None:
        t = self.page.t
        listed = registered(self.folder)
        self.list.clear()
        with self.list:
            if not listed:
                empty(self.page, "data.none", "data.none.hint")
                return
            with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain even").props('data-test="datasets"'):
                with ui.element("thead"), ui.element("tr"):
                    for name in ("name", "holds", "format", "where", "size"):
                        text_block(t(f"data.{name}"), "num" if name == "size" else "", "th").props("scope=col")
                    ui.html(f'<span class="sr">{escape(t("data.actions"))}</span>', sanitize=False, tag="th")
                with ui.element("tbody"):
                    for one in listed:
                        self._line(one)

    def _line(self, one: Listed) -> None:
        t = self.page.t
        with ui.element("tr").props(f'data-name="{escape(one.name, quote=True)}"'):
            text_block(one.name, "strong", "td")
            text_block(t(f"data.holds.{one.holds}"), tag="td")
            text_block(one.formatting, tag="td")
            text_block(one.problem or one.where, "red break" if one.problem else "break", "td")
            text_block(size_text(one.num_bytes) if one.num_bytes is not None else "–", "num", "td")
            with ui.element("td"), ui.element("div").classes("row-8 nowrap end"):
                icon_button(t("data.look"), "eye", lambda: self._look(one.name), tiny=True)
                button(t("data.check"), lambda: self._check(one.name), tiny=True).props('data-test="check"')
                button(t("data.edit"), lambda: self._edit(one), tiny=True).props('data-test="edit"')
                button(t("data.split"), lambda: self._split(one.name), tiny=True).props('data-test="split"')
                button(t("data.train"), lambda: self._train(one), tiny=True)
                icon_button(t("data.forget"), "delete", lambda: self._forget(one.name), tiny=True)

    def _settings(self, name: str) -> dict[str, Any]:
        return {**self.page.model.settings(), "dataset": [name], "dataset_dir": self.folder}

    async def _look(self, name: str) -> None:
        await look_inside(self.page, Form({}), self._settings(name))

    def _train(self, one: Listed) -> None:
        stage = {"text": "pt", "preference": "dpo", "rated": "kto"}.get(one.holds, "sft")
        self.train.update({"dataset": [one.name], "stage": stage})
        ui.navigate.to("/")

    async def _forget(self, name: str) -> None:
        t = self.page.t
        if await confirm(self.page, t("data.forget"), t("data.forget.text", name=name), t("data.forget"), danger=True):
            try:
                datafiles.forget(self._path(), name)
            except LuthierError as error:
                self.page.complain(error)
            self._draw()

    # ---- adding ----

    def _add(self) -> None:
        t = self.page.t
        with dialog(t("data.add")) as opened:
            text_block(t("data.add.upload"), tag="h3")
            limit = self.page.settings.upload_mb
            upload = (
                ui.upload(auto_upload=True, max_file_size=limit * MB, max_files=1)
                .classes("wide")
                .props(f'flat accept="{",".join(datafiles.TAKEN)}" data-test="upload"')
            )
            take_drops(upload, t("upload.drop"), t("upload.choose"))
            text_block(t("data.add.path"), tag="h3")
            with ui.element("div").classes("row-8 nowrap"):
                path = ui.input().classes("grow").props(f'outlined dense aria-label="{t("data.add.path")}" data-test="path"')
                look = button(t("data.add.guess"), drawing="eye").props('data-test="guess"')
            shown = ui.element("div").classes("col-16")

        async def take(event: events.UploadEventArguments) -> None:
            try:
                target = datafiles.upload_target(self._path(), event.file.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                await event.file.save(target)
            except LuthierError as error:
                self.page.complain(self._upload_words(error))
                return
            self._guess(target, shown, opened, made_here=True)

        def guess() -> None:
            try:
                self._guess(self.page.settings.allow(path.value or "", t("data.where")), shown, opened)
            except LuthierError as error:
                self.page.complain(error)

        upload.on_upload(take)
        upload.on_rejected(lambda: self.page.complain(t("upload.too_large", mb=limit)))
        look.on_click(guess)

    def _upload_words(self, error: LuthierError) -> str:
        key = {"kind": "upload.kind", "exists": "upload.exists"}.get(error.message)
        return self.page.t(key, kinds=error.remedy, name=error.remedy) if key else self.page.explain(error)

    def _guess(self, path: Path, place: ui.element, opened: ui.dialog, *, made_here: bool = False) -> None:
        """What a file seems to hold, shown before it is registered."""
        t = self.page.t
        place.clear()
        try:
            name, raw, samples = register(path, dataset_dir=str(self._path()), dry_run=True, overwrite=True)
        except LuthierError as error:
            if made_here:
                path.unlink(missing_ok=True)
            self.page.complain(error)
            return
        with place:
            formatting = raw.get("formatting") or "alpaca"
            text_block(t("data.add.shown", formatting=formatting))
            for sample in samples:
                text = orjson.dumps(sample, option=orjson.OPT_INDENT_2).decode()
                ui.html(escape(text), sanitize=False, tag="pre").classes("code").style("max-height: 160px")
            named = ui.input(t("data.add.name"), value=name).props('outlined dense stack-label data-test="name"')
            button(t("data.add.register"), lambda: keep(), kind="main").props('data-test="register"')

        def keep() -> None:
            try:
                kept, _, _ = register(path, name=(named.value or name).strip(), dataset_dir=str(self._path()))
            except LuthierError as error:
                self.page.complain(error)
                return
            opened.close()
            self.page.tell("data.added", name=kept)
            self._draw()

    # ---- checking ----

    async def _check(self, name: str) -> None:
        t = self.page.t
        with dialog(t("data.check.title", name=name)) as opened:
            place = ui.element("div").classes("col-16").props('data-test="report"')
            with place:
                text_block(t("forecast.working"), "muted")
            with ui.element("div").classes("row-8 end"):
                button(t("close"), opened.close)
        try:
            report = await self.page.shared.helper.call("check", settings=self._settings(name))
        except LuthierError as error:
            place.clear()
            with place:
                text_block(self.page.explain(error), "note bad")
            return
        place.clear()
        with place:
            self._report(report)

    def _report(self, report: dict[str, Any]) -> None:
        t = self.page.t
        for severity, sentence in report["findings"]:
            text_block(translate(self.page.lang, sentence), "note bad" if severity == "bad" else "note")
        if not report["findings"]:
            text_block(t("data.check.nothing"), "note good")
        share = report["learned_share"]
        tiles = [("data.check.rows", f"{report['rows']:,}"), ("data.check.samples", f"{report['samples']:,}")]
        tiles += [("data.check.share", f"{100 * share:.0f} %")] if share is not None else []
        cells = "".join(f'<div class="tile"><span>{escape(t(key))}</span><b>{text}</b></div>' for key, text in tiles)
        ui.html(f'<div class="tiles">{cells}</div>', sanitize=False)
        text_block(t("data.check.lengths"), tag="h3")
        names = [f"{bound:,}" for bound, _ in report["histogram"]]
        options = bar_chart(
            names,
            [count for _, count in report["histogram"]],
            dark=self.page.dark,
            x=t(f"axis.{report['unit']}"),
            y=t("axis.samples"),
        )
        ui.echart(options).classes("chart").style("height: 220px")
        if report["truncation"]:
            rows = [
                [
                    f"{row['cutoff_len']:,}",
                    f"{row['samples']:,} ({100 * row['samples_share']:.1f} %)",
                    f"{row['tokens']:,} ({100 * row['tokens_share']:.1f} %)",
                ]
                for row in report["truncation"]
            ]
            heads = [t("data.check.cutoff"), t("data.check.cut_samples"), t("data.check.cut_tokens")]
            ui.html(plain_table(heads, rows, numeric=[0, 1, 2]), sanitize=False)

    # ---- editing ----

    async def _edit(self, one: Listed) -> None:
        t = self.page.t
        try:
            info = read_info(self._path() / INFO_FILE)
            entry = parse_entry(one.name, info[one.name], base=str(self._path()), where=INFO_FILE)
            file = self.page.settings.allow(Path(entry.base) / entry.location, t("data.where"))
            rows, whole = await background.io_bound(datafiles.read_table, file)
            read_at = file.stat().st_mtime
        except LuthierError as error:
            self.page.complain(t("data.edit.kind") if error.message == "kind" else error)
            return
        names = list(dict.fromkeys(name for row in rows for name in row))
        look = {"editable": True, "flex": 1, "minWidth": 140, "wrapText": False, "cellEditor": "agLargeTextCellEditor",
                "cellEditorPopup": True, "cellEditorParams": {"maxLength": datafiles.SHOWN_TEXT, "rows": 10}}  # fmt: skip
        columns = [{"headerName": "#", "field": "#", "width": 72, "pinned": "left", "checkboxSelection": True}]
        columns += [{"headerName": name, "field": name, **look} for name in names if name != "#"]
        with dialog(t("data.edit.title", name=one.name)) as opened:
            if not whole:
                text_block(t("data.edit.large", count=datafiles.MOST_ROWS), "note")
            grid = (
                ui.aggrid(
                    {"columnDefs": columns, "rowData": rows, "rowSelection": "multiple", "stopEditingWhenCellsLoseFocus": True},
                )
                .classes("wide")
                .style("height: 56vh")
                .props('data-test="grid"')
            )

            async def rows_now() -> list[dict[str, Any]]:
                return await grid.get_client_data()

            async def add() -> None:
                grid.options["rowData"] = [*await rows_now(), dict.fromkeys(names, "")]
                grid.update()

            async def remove() -> None:
                marked = {row["#"] for row in await grid.get_selected_rows()}
                grid.options["rowData"] = [row for row in await rows_now() if row.get("#") not in marked]
                grid.update()

            async def keep() -> None:
                try:
                    count, backup = datafiles.write_table(file, await rows_now(), read_at)
                except LuthierError as error:
                    self.page.complain(self._edit_words(error))
                    return
                opened.close()
                self.page.tell("data.edit.saved", count=count, backup=backup.name)
                self._draw()

            with ui.element("div").classes("row-8 end"):
                button(t("data.edit.add"), add, drawing="plus")
                button(t("data.edit.remove"), remove, drawing="delete")
                button(t("cancel"), opened.close)
                button(t("data.edit.save"), keep, kind="main").props('data-test="save-rows"')

    def _edit_words(self, error: LuthierError) -> str:
        if error.message == "wrong" and error.remedy:
            row, column = error.remedy.split("\t")
            return self.page.t("data.edit.wrong", row=row, column=column)
        return self.page.t("data.edit.changed") if error.message == "changed" else self.page.explain(error)

    # ---- splitting and mixing ----

    def _split(self, name: str) -> None:
        t = self.page.t
        with dialog(t("data.split.title", name=name), narrow=True) as opened:
            share = ui.number(t("data.split.share"), value=0.1, min=0.01, max=0.99, step=0.05).props(
                "outlined dense stack-label"
            )

            async def do() -> None:
                try:
                    (first, a), (second, b) = await background.io_bound(
                        datafiles.split, self._path(), name, float(share.value or 0)
                    )
                except LuthierError as error:
                    self.page.complain(error)
                    return
                opened.close()
                self.page.tell("data.split.done", first=first, second=second, a=a, b=b)
                self._draw()

            with ui.element("div").classes("row-8 end"):
                button(t("cancel"), opened.close)
                button(t("data.split"), do, kind="main")

    def _mix(self) -> None:
        t = self.page.t
        names = [one.name for one in registered(self.folder) if not one.problem]
        with dialog(t("data.mix.title"), narrow=True) as opened:
            parts = ui.select(names, value=[], multiple=True, label=t("data.mix.parts")).props(
                "outlined dense use-chips stack-label"
            )
            most = ui.number(t("data.mix.most"), min=1).props("outlined dense stack-label")
            new = ui.input(t("data.mix.name"), value="mixed").props("outlined dense stack-label")

            async def do() -> None:
                try:
                    if len(parts.value or []) < 2:
                        raise DataError(t("data.choose_first"))
                    limit = int(most.value) if most.value else None
                    name = (new.value or "").strip()
                    count = await background.io_bound(datafiles.mix, self._path(), list(parts.value), name, limit)
                except LuthierError as error:
                    self.page.complain(error)
                    return
                opened.close()
                self.page.tell("data.mix.done", name=name, count=count)
                self._draw()

            with ui.element("div").classes("row-8 end"):
                button(t("cancel"), opened.close)
                button(t("data.mix"), do, kind="main")
