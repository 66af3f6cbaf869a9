"""What Train, Evaluate and Export have in common: sections and folds of fields, complaints, and the button that starts a job.

Enters: a Page and the name of its layout.  Leaves: a form that is checked as it is typed, and a run that was started with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runs import Run
from luthier.webui import jobs, layout
from luthier.webui.absent import absent
from luthier.webui.datapicker import DataPicker
from luthier.webui.fields import Field, Fields, fold
from luthier.webui.form import check, warnings_of
from luthier.webui.page import Page
from luthier.webui.parts import button, card, confirm, text_block
from luthier.webui.paths import outside
from luthier.webui.settingsfile import preview_buttons, read_yaml
from luthier.webui.words import translate

WIDE = ("dataset", "models")


class FormPage:
    """Subclasses say what is always set (always), what it starts (verb), and draw what stands beside the form.

    pickers: keys that are drawn in a way of their own.  needed: keys without which it does not start.
    written: the key of the folder that the job fills.
    """

    name: str
    verb: str
    always: Mapping[str, Any] = {}
    pickers: Mapping[str, type[Field]] = {"dataset": DataPicker}
    written = "output_dir"
    needed: tuple[str, ...] = ("dataset",)

    def __init__(self, page: Page):
        self.page = page
        self.form = page.form(self.name, layout.start(self.name))
        self.fields = Fields(page, self.form)
        self.folds: dict[str, ui.expansion] = {}
        self.cards: dict[str, ui.element] = {}
        self.data: DataPicker | None = None
        self.said: ui.html | None = None

    def head(self) -> None:
        """The name of the page and one line on it."""
        with ui.element("div").classes("pagehead"):
            text_block(self.page.t(f"nav.{self.name}"), tag="h1")
            text_block(self.page.t(f"{self.name}.intro"), tag="p")

    def draw_sections(self) -> None:
        """The fields in sight."""
        t = self.page.t
        for name, keys in layout.sections(self.name).items():
            with card(t(f"section.{name}"), t(f"section.{name}.hint")) as self.cards[name], ui.element("div").classes("fields"):
                for key in [*keys, "dataset_dir"] if "dataset" in keys else keys:
                    self._add(key)

    def _add(self, key: str) -> None:
        made = self.fields.add(key, self.pickers.get(key, Field))
        if isinstance(made, DataPicker):
            self.data = made
        if key in WIDE:
            self.fields.by_key[key].box.classes("full")

    def draw_folds(self) -> None:
        """Everything else, one fold away."""
        with ui.element("section").classes("card"):
            text_block(self.page.t("train.more"), tag="h2")
            with ui.element("div"):
                for name, keys in layout.folds(self.name).items():
                    self.folds[name] = self._fold(name, keys)
                self._extra()

    def _fold(self, name: str, keys: list[str]) -> ui.expansion:
        def draw() -> None:
            with ui.element("div").classes("fields"):
                for key in keys:
                    self._add(key)
            self.show_relevant()

        return fold(self.page.t(f"fold.{name}"), self.page.t(f"fold.{name}.hint"), draw)

    def _extra(self) -> None:
        t, kept = self.page.t, f"extra.{self.name}"

        def take(text: str) -> None:
            self.page.store[kept] = text
            self.follow(set())

        def draw() -> None:
            text_block(t("extra.hint"), "muted small")
            area = ui.textarea(value=self.page.store.get(kept, "")).classes("wide")
            area.props(
                f'outlined dense autogrow debounce=400 aria-label="{escape(t("fold.extra"))}" placeholder="weight_decay: 0.01"'
            )
            area.on_value_change(lambda event: take(event.value or ""))

        fold(t("fold.extra"), t("fold.extra.hint"), draw)

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Everything that is set on the page. Raises ConfigError where the further keys are no YAML."""
        extra = read_yaml(self.page.store.get(f"extra.{self.name}") or "")
        return {**self.always, **self.form.settings(), **extra}

    def problems(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """key -> what is wrong."""
        return {**check(settings)[1], **outside(settings, self.page.settings)}

    def follow(self, changed: set[str]) -> None:
        """After every change."""
        try:
            settings = self.settings()
            problems = self.problems(settings)
        except LuthierError as error:
            settings, problems = {}, {"": self.page.explain(error)}
        elsewhere = self.fields.complain(problems)
        config = check(settings)[0] if not problems else None
        said = [*elsewhere.values(), *(warnings_of(config) if config else [])]
        if self.said is not None:
            notes = (f'<div class="note">{escape(translate(self.page.lang, text))}</div>' for text in said)
            self.said.set_content(f'<div class="col-8">{"".join(notes)}</div>' if said else "")
        if changed & {"stage", "dataset_dir"} and self.data is not None:
            self.data.refresh()
        self.show_relevant()
        self.followed(settings, problems)

    def followed(self, settings: dict[str, Any], problems: dict[str, str]) -> None:
        """What a page does beside."""

    def show_relevant(self) -> None:
        """Only what means something under these settings."""
        settings = self.form.settings()
        for key, field in self.fields.by_key.items():
            field.show(layout.is_relevant(key, settings))
        for name, made in self.folds.items():
            some = any(layout.is_relevant(key, settings) for key in layout.folds(self.name).get(name, []))
            made.set_visibility(some and layout.fold_is_relevant(self.name, name, settings))

    # ---- start ----

    def draw_start(self, text: str, drawing: str = "play") -> ui.element:
        """The folder to write, what keeps the job from starting, and the buttons; returns their row."""
        label = self.page.label(self.written)
        with ui.element("div").classes("field"):
            text_block(label, "strong")
            self.output = ui.input(placeholder=self.fresh_folder()).classes("wide")
            self.output.props(f'outlined dense aria-label="{escape(label, quote=True)}" data-test="output"')
        self.said = ui.html("", sanitize=False)
        with ui.element("div").classes("row-8") as row:
            self.start_button = button(text, self._start, drawing=drawing, kind="main").props('data-test="start"')
            preview_buttons(self.page, lambda: self.verb, self.job_settings)
        return row

    def fresh_folder(self) -> str:
        """Where the job writes unless the reader names a folder."""
        raise NotImplementedError

    def job_settings(self) -> dict[str, Any]:
        """What the job will get. Raises ConfigError as settings() does."""
        return self.settings() | {self.written: (self.output.value or "").strip() or self.fresh_folder()}

    def show_run(self, run: Run | None) -> None:
        """The run that goes, or has gone, on this page."""
        raise NotImplementedError

    async def _start(self) -> None:
        try:
            settings = self.job_settings()
        except LuthierError as error:
            self.page.complain(error)
            return
        if self.refuse(settings) or not await self._may_write(settings):
            return
        self.start_button.disable()
        try:
            run = await background.io_bound(lambda: self.start_job(settings))
        except LuthierError as error:
            self.page.complain(error)
            return
        finally:
            self.start_button.enable()
        self.output.value = ""
        self.output.props(f'placeholder="{escape(self.fresh_folder(), quote=True)}"')
        self.page.store[f"run.{self.verb}"] = str(run.folder)
        self.page.tell("start.done", name=run.folder.name)
        self.show_run(run)

    def start_job(self, settings: dict[str, Any]) -> Run:
        """Start it. Raises LuthierError where it cannot begin."""
        return jobs.start(self.verb, settings)

    def last_run(self) -> Run | None:
        """The run that was started here last, else the newest of its kind."""
        return jobs.last(self.verb, self.page.store.get(f"run.{self.verb}"))

    def refuse(self, settings: Mapping[str, Any]) -> bool:
        """Say at the field and on top what keeps a job from starting; False where nothing does."""
        problems = self.problems(settings) or absent(settings, self.page.t)
        problems |= {key: self.page.t(f"needed.{key}") for key in self.needed if not settings.get(key)}
        if not problems:
            return False
        self.fields.complain(problems)
        key, text = next(iter(problems.items()))
        name = f"{self.page.label(key)}: " if key else ""
        self.page.complain(name + translate(self.page.lang, text.removeprefix(f"{key}: ")))
        return True

    async def _may_write(self, settings: dict[str, Any]) -> bool:
        """A folder that holds something already: nothing is overwritten unless the reader says so."""
        folder = Path(settings[self.written]).expanduser()
        if settings.get("overwrite_output_dir") or settings.get("resume_from_checkpoint") or not self.is_taken(folder):
            return True
        t = self.page.t
        text = t("replace.text", folder=str(folder))
        settings["overwrite_output_dir"] = await confirm(self.page, t("replace.title"), text, t("replace"), danger=True)
        return settings["overwrite_output_dir"]

    def is_taken(self, folder: Path) -> bool:
        """Whether the job would overwrite something in folder."""
        return Run(folder).status_file.is_file()
