"""Choosing datasets: a list of the registered ones, filtered by what the stage learns from, with a look inside.

Enters: the form (dataset, dataset_dir).  Leaves: names or paths in the form; a dialog that shows samples as tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any

import orjson
from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runtime.files import size_text
from luthier.webui.datafiles import blanks, fill_in
from luthier.webui.fields import Field
from luthier.webui.form import Form
from luthier.webui.page import Page
from luthier.webui.parts import button, dialog, icon_button, text_block
from luthier.webui.words import place
from luthier.workflows.data import Listed, list_datasets

LEARNS_FROM = {"pt": {"text"}, "dpo": {"preference"}, "rm": {"preference"}, "kto": {"rated"}}
"""Stage -> what its rows hold; other stages learn from conversations."""


def registered(dataset_dir: str) -> list[Listed]:
    """The entries of dataset_info.json, none where there is no such file."""
    try:
        return list_datasets(dataset_dir)
    except LuthierError:
        return []


class DataPicker(Field):
    """The field of the key `dataset`."""

    def _control(self) -> Any:
        with ui.element("div").classes("row-8 nowrap wide"):
            value = list(self.form.get("dataset") or [])
            made = ui.select(self._words(value), value=value, multiple=True, with_input=True, new_value_mode="add-unique")
            made.on_value_change(lambda event: self._take([str(name) for name in event.value or []] or None))
            made.props(
                f'outlined dense use-chips options-dense input-debounce=0 aria-label="{self._aria()}" data-test="dataset"'
            )
            made.classes("grow")
            button(self.page.t("data.look"), self._look, drawing="eye").props('data-test="preview-data"')
        self.blanks = ui.element("div").classes("col-8")
        self._show_blanks(value)
        return made

    def sync(self) -> None:
        """The blanks of the new choice too."""
        super().sync()
        self._show_blanks(list(self.form.get("dataset") or []))

    def _show_blanks(self, chosen: list[str]) -> None:
        """Rows that leave a name open would teach the model to say {{name}}."""
        self.blanks.clear()
        with suppress(LuthierError):
            folder = self.page.settings.allow(self.form.settings().get("dataset_dir") or "data", self.page.t("data.folder"))
            for name in chosen:
                if found := blanks(folder, name):
                    self._draw_blanks(name, found)

    def _draw_blanks(self, name: str, found: list[str]) -> None:
        shown = ", ".join(f"{{{{{blank}}}}}" for blank in found)
        with self.blanks, ui.element("div").classes("note row-8 apart"):
            text_block(self.page.t("data.blanks", name=name, blanks=shown), "grow")
            fill = button(self.page.t("data.fill"), partial(self._fill, name, found), drawing="edit")
            fill.props('data-test="fill-in"')

    def _fill(self, name: str, found: list[str]) -> None:
        t = self.page.t
        with dialog(t("data.fill.title", name=name), narrow=True) as opened:
            made = {blank: ui.input(blank).props(f'outlined dense stack-label data-test="blank-{blank}"') for blank in found}
            new = ui.input(t("data.mix.name"), value=f"{name}_mine").props("outlined dense stack-label")

            async def do() -> None:
                values, wanted = {blank: typed.value or "" for blank, typed in made.items()}, (new.value or "").strip()
                try:
                    folder = self.page.settings.allow(self.form.settings().get("dataset_dir") or "data", t("data.folder"))
                    await background.io_bound(fill_in, folder, name, values, wanted)
                except LuthierError as error:
                    self.page.complain(error)
                    return
                opened.close()
                self.form.set("dataset", [wanted if one == name else one for one in self.form.get("dataset") or []])
                self.refresh()
                self.page.tell("data.fill.done", name=wanted)

            with ui.element("div").classes("row-8 end"):
                button(t("cancel"), opened.close)
                button(t("data.fill"), do, kind="main").props('data-test="fill"')

    def _words(self, chosen: list[str]) -> dict[str, str]:
        settings = self.form.settings()
        wanted = LEARNS_FROM.get(settings.get("stage") or "sft", {"conversation"})
        words = {}
        for one in registered(str(settings.get("dataset_dir") or "data")):
            if one.holds in wanted or one.name in chosen:
                size = (one.problem and self.page.t("data.broken")) or (size_text(one.num_bytes) if one.num_bytes else "")
                words[one.name] = " · ".join(part for part in (one.name, size) if part)
        return {**words, **{name: name for name in chosen if name not in words}}

    def refresh(self) -> None:
        """The list again, after the stage or the folder changed."""
        chosen = list(self.form.get("dataset") or [])
        self.control.set_options(self._words(chosen), value=chosen)

    async def _look(self) -> None:
        if not self.form.get("dataset"):
            self.page.complain(self.page.t("data.choose_first"))
            return
        await look_inside(self.page, self.form)


async def look_inside(page: Page, form: Form, settings: Mapping[str, Any] | None = None) -> None:
    """A dialog with one sample at a time: its tokens, what is learned of it, and the row as it lies in the file."""
    shown = dict(settings or form.settings())
    names = list(shown.get("dataset") or [])
    first = {"name": names[0], "number": 1}
    with dialog(page.t("data.inside")) as opened:
        with ui.element("div").classes("row-8 apart"):
            which = ui.select(names, value=names[0]).props(f'outlined dense options-dense aria-label="{page.label("dataset")}"')
            with ui.element("div").classes("row-8"):
                previous = icon_button(page.t("previous"), "left")
                following = icon_button(page.t("next"), "right")
        body = ui.html("", sanitize=False).props('data-test="samples" role="status"')
        with ui.element("div").classes("row-8 apart"):
            key = f'<span class="sample" style="padding:0 8px"><i class="l">{escape(page.t("data.learned"))}</i></span>'
            ui.html(
                f'<div class="small muted row-8">{key}<span>{escape(page.t("data.not_learned"))}</span></div>', sanitize=False
            )
            button(page.t("close"), opened.close)

    async def show() -> None:
        body.set_content(f'<p class="muted">{escape(page.t("forecast.working"))}</p>')
        asked = {**shown, "dataset": [first["name"]]}
        try:
            answer = await page.shared.helper.call("preview", settings=asked, first=first["number"], limit=1)
        except LuthierError as error:
            body.set_content(f'<div class="note bad">{escape(page.explain(error))}</div>')
            return
        notes = "".join(f'<div class="note">{escape(note)}</div>' for note in answer.get("notes", []))
        body.set_content('<div class="col-8">' + "".join(_sample(page, one) for one in answer["samples"]) + notes + "</div>")

    async def move(by: int) -> None:
        first["number"] = max(1, first["number"] + by)
        await show()

    async def choose(event: Any) -> None:
        first.update(name=event.value, number=1)
        await show()

    previous.on_click(lambda: move(-1))
    following.on_click(lambda: move(1))
    which.on_value_change(choose)
    await background.io_bound(lambda: None)
    await show()


def _sample(page: Page, one: Mapping[str, Any]) -> str:
    """One sample as HTML; every text in it is escaped."""
    words = page.t("data.sample", number=one["number"], tokens=one["tokens"], learned=one["learned"])
    parts = [f'<div class="small muted break">{escape(words)} · {escape(place(page.lang, one["origin"]))}</div>']
    for pieces in one["segments"] or []:
        marks = "".join(
            f'<i class="{"l" if weight == 1 else "w" if weight else ""}">{escape(text)}</i>' for text, weight in pieces
        )
        parts.append(f'<div class="sample" tabindex="0">{marks}</div>')
    if one["cut"]:
        parts.append(f'<div class="note">{escape(page.t("data.was_cut", count=one["cut"]))}</div>')
    row = orjson.dumps(one["plain"], option=orjson.OPT_INDENT_2).decode()
    parts.append(
        f'<details><summary class="small muted">{escape(page.t("data.row"))}</summary>'
        f'<pre class="code">{escape(row)}</pre></details>'
    )
    return "".join(parts)
