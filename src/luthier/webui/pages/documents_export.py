"""The end of the path: the splits, a look for leaks between them, a version that never changes, and training on it.

Enters: a Desk.  Leaves: a job that exports and registers; the Train page filled with the new dataset.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.datasets.lookup import INFO_FILE, read_info
from luthier.documents import review
from luthier.documents.leaks import find_leaks
from luthier.documents.project import Project
from luthier.documents.publish import leak_rows, left_out, split_of
from luthier.documents.steps.coverage import EXPORTED
from luthier.documents.steps.rows import ROWS
from luthier.errors import ConfigError, LuthierError
from luthier.runs import shown_path
from luthier.webui import documentjobs, layout, recipeform
from luthier.webui.documentdesk import Desk
from luthier.webui.parts import button, card, dialog, empty, plain_table, text_block

FORMATS = ("alpaca", "sharegpt", "openai", "preference", "text")
STAGES = {"preference": "dpo", "text": "pt"}
"""Format -> the stage that learns from it; others are for sft."""

FOLDER = "data"
SHOWN_LEAKS = 20
CARD = "README.md"


class Export:
    """Splits and leaks to the left, the export and its versions to the right."""

    def __init__(self, desk: Desk):
        self.desk, self.page = desk, desk.page
        self.train = desk.page.form("train", layout.start("train"))

    @property
    def folder(self) -> str:
        """The data folder that the Train page uses too."""
        value = self.train.get("dataset_dir")
        return value if isinstance(value, str) and value != "ONLINE" and not value.startswith("REMOTE:") else FOLDER

    async def draw(self) -> None:
        t = self.page.t
        self.splits, self.reasons, versions, text = await self.desk.ask(_look)
        if not self.splits:
            empty(self.page, "docs.no_rows", "docs.no_rows.hint")
            return
        self.form = recipeform.RecipeForm(text)
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self._draw_splits()
                self._draw_left_out()
            with ui.element("div").classes("col-24"):
                self._draw_export()
                if versions:
                    with card(t("docs.versions"), t("docs.versions.hint")):
                        for one in versions:
                            self._version(one)

    # ---- splits ----

    def _draw_splits(self) -> None:
        t = self.page.t
        with card(t("docs.splits"), t("docs.splits.hint")):
            total = sum(self.splits.values()) or 1
            rows = [
                [t(f"docs.split.{name}"), f"{count:,}", f"{count / total:.0%}", t(f"docs.split.{name}.hint")]
                for name, count in self.splits.items()
            ]
            heads = [t("docs.split"), t("docs.rows"), t("docs.share"), t("docs.split.what")]
            ui.html(plain_table(heads, rows, numeric=[1, 2]), sanitize=False).classes("scroll-x").props('data-test="splits"')
            with ui.element("div").classes("row-8"):
                button(t("docs.leaks.look"), self._leaks, drawing="compare").props('data-test="leaks"')
            self.leaks = ui.element("div").classes("col-8").props('role="status" data-test="leaks-found"')

    async def _leaks(self) -> None:
        t = self.page.t
        self.leaks.clear()
        with self.leaks:
            text_block(t("forecast.working"), "muted")
        found = await self.desk.ask(_find_leaks)
        self.leaks.clear()
        with self.leaks:
            if not found:
                text_block(t("docs.leaks.none"), "note good")
                return
            text_block(t("docs.leaks.some", count=len(found)), "note bad")
            for leak in found[:SHOWN_LEAKS]:
                with ui.element("div").classes("docs-sample"):
                    for id, split, question in leak:
                        with ui.element("div").classes("row-8 apart"):
                            text_block(f"{t('docs.split.' + split)}: {question}", "break grow")
                            button(t("docs.reject"), lambda id=id: self._reject(id), tiny=True, kind="danger")

    async def _reject(self, id: str) -> None:
        await self.desk.ask(lambda project: review.decide(project, [id], "rejected"))
        await self.desk.look_again()
        await self._leaks()

    def _draw_left_out(self) -> None:
        t = self.page.t
        if not self.reasons:
            return
        with card(t("docs.left_out"), t("docs.left_out.hint")):
            rows = [[t(f"flag.{reason.replace(' ', '_')}"), f"{count:,}"] for reason, count in self.reasons.items()]
            ui.html(plain_table([t("docs.reason"), t("docs.rows")], rows, numeric=[1]), sanitize=False)

    # ---- export ----

    def _draw_export(self) -> None:
        t = self.page.t
        with card(t("docs.export"), t("docs.export.hint")):
            with ui.element("div").classes("fields"):
                with ui.element("div").classes("field"):
                    text_block(t("recipe.export.format"), "strong")
                    names = {name: t(f"recipe.export.format.{name}") for name in FORMATS}
                    made = ui.select(names, value=self.form.get(("export", "format")))
                    made.props(f'outlined dense options-dense aria-label="{t("recipe.export.format")}" data-test="format"')
                    made.on_value_change(lambda event: self._save("format", event.value))
                    self.meaning = text_block(t(f"docs.format.{self.form.get(('export', 'format'))}"), "hint")
                with ui.element("div").classes("field"):
                    text_block(t("docs.dataset_dir"), "strong")
                    self.where = ui.input(value=self.folder).props(
                        f'outlined dense aria-label="{t("docs.dataset_dir")}" data-test="dataset-dir"'
                    )
                    text_block(t("docs.dataset_dir.hint"), "hint")
                for key in ("licence", "system"):
                    with ui.element("div").classes("field"):
                        text_block(t(f"recipe.export.{key}"), "strong")
                        made = ui.input(value=self.form.get(("export", key)) or "")
                        made.props(f'outlined dense debounce=500 aria-label="{t(f"recipe.export.{key}")}"')
                        made.on_value_change(lambda event, key=key: self._save(key, (event.value or "").strip() or None))
                        text_block(t(f"recipe.export.{key}.hint"), "hint")
            only = ui.switch(t("recipe.export.reviewed_only"), value=bool(self.form.get(("export", "reviewed_only"))))
            only.props("dense").on_value_change(lambda event: self._save("reviewed_only", bool(event.value)))
            with ui.element("div").classes("row-8"):
                button(t("docs.export.start"), self._export, drawing="export", kind="main").props('data-test="export-version"')

    async def _save(self, key: str, value: Any) -> None:
        try:
            self.form.set(("export", key), value)
        except ConfigError as error:
            self.page.complain(error)
            return
        await self.desk.save_recipe(self.form.text())
        if key == "format":
            self.meaning.set_content(escape(self.page.t(f"docs.format.{value}")))

    async def _export(self) -> None:
        try:
            folder = self.page.settings.allow((self.where.value or "").strip() or FOLDER, self.page.t("docs.dataset_dir"))
            options = {"dataset_dir": shown_path(folder)}
            await background.io_bound(lambda: documentjobs.start(self.desk.folder, "export", **options))
        except LuthierError as error:
            self.page.complain(error)
        await self.desk.look_again()

    # ---- versions ----

    def _version(self, one: dict[str, Any]) -> None:
        t = self.page.t
        counts = ", ".join(f"{t('docs.split.' + name)} {count:,}" for name, count in one["counts"].items())
        with ui.element("div").classes("docs-version").props(f'data-test="version" data-version="{one["version"]}"'):
            with ui.element("div").classes("grow"):
                text_block(f"{one['version']} · {t('recipe.export.format.' + one['format'])}", "strong")
                text_block(counts, "small muted")
            with ui.element("div").classes("row-8 nowrap"):
                button(t("docs.card"), lambda: self._card(one["version"]), tiny=True).props('data-test="card"')
                button(t("docs.train_on_it"), lambda: self._train(one), drawing="train", kind="main").props(
                    'data-test="train-on-it"'
                )

    def _card(self, version: str) -> None:
        file = self.desk.folder / "exports" / version / CARD
        with dialog(f"{self.desk.folder.name} {version}") as opened:
            text = file.read_text(encoding="utf-8") if file.is_file() else self.page.t("docs.card.none")
            ui.html(escape(text), sanitize=False, tag="pre").classes("code").props("tabindex=0").style("white-space: pre-wrap")
            with ui.element("div").classes("row-8 end"):
                button(self.page.t("close"), opened.close)

    def _train(self, one: dict[str, Any]) -> None:
        """Fill the Train page: the version that is registered by its name there, an older one by its own folder."""
        own = self.desk.folder / "exports" / one["version"]
        given = (self.where.value or "").strip() or FOLDER
        folder = given if is_registered(Path(given), one["name"], own) else shown_path(own)
        self.train.update(training(one["name"], one["counts"], one["format"], folder))
        ui.navigate.to("/")


def is_registered(folder: Path, name: str, version: Path) -> bool:
    """Whether name in folder/dataset_info.json is this version."""
    if not (folder / INFO_FILE).is_file():
        return False
    try:
        entry = read_info(folder / INFO_FILE).get(name)
    except LuthierError:  # the file is broken: the Data page says so
        return False
    return entry is not None and (folder / str(entry.get("file_name", ""))).resolve().is_relative_to(version.resolve())


def training(name: str, counts: dict[str, int], form: str, folder: str) -> dict[str, Any]:
    """What the Train page needs for a version: data, what is held out for evaluation, the stage that learns from such rows."""
    held = next((f"{name}_{split}" for split in ("val", "test") if split in counts), None)
    return {
        "dataset": [name],
        "dataset_dir": None if Path(folder) == Path(FOLDER) else folder,
        "eval_dataset": [held] if held else None,
        "val_size": None,
        "stage": STAGES.get(form, "sft"),
    }


def _look(project: Project) -> tuple[dict[str, int], dict[str, int], list[dict[str, Any]], str]:
    splits: dict[str, int] = {}
    for row in project.store.each(f"{ROWS} AND {EXPORTED}"):
        splits[split_of(row)] = splits.get(split_of(row), 0) + 1
    order = [name for name in ("train", "val", "test", "known") if name in splits]
    versions = []
    for row in project.store.all("SELECT * FROM export ORDER BY at DESC, version DESC"):
        folder = project.exports / row["version"]
        if (folder / INFO_FILE).is_file():
            names = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
            versions.append(
                {
                    "version": row["version"],
                    "format": row["format"],
                    "counts": json.loads(row["counts"]),
                    "name": next(iter(names)),
                }
            )
    text = project.recipe_file.read_text(encoding="utf-8")
    return {name: splits[name] for name in order}, left_out(project), versions, text


def _find_leaks(project: Project) -> list[list[tuple[str, str, str]]]:
    """Each leak as two rows: id, split, question."""
    found = []
    for leak in find_leaks(lambda: leak_rows(project, project.recipe.export)):
        pair = []
        for id, split in zip((leak.left, leak.right), leak.splits):
            pair.append((id, split, str(review.find_row(project, id)["question"])))
        found.append(pair)
    return found
