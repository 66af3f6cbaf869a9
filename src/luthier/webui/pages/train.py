"""Train: say what to teach and how, see what it will take, start, and watch it learn.

Enters: a Page.  Leaves: a run folder that a process of its own fills; this page only reads it.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runs import LIVE, Run
from luthier.webui import jobs, layout
from luthier.webui.advice import advise
from luthier.webui.datapicker import DataPicker
from luthier.webui.fields import Fields, fold
from luthier.webui.forecastbox import ForecastBox
from luthier.webui.form import check, warnings_of
from luthier.webui.liverun import LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import button, card, confirm, empty, text_block
from luthier.webui.paths import outside
from luthier.webui.settingsfile import load_button, preview_buttons, read_yaml, save_button
from luthier.webui.words import translate

LAST_RUN = "run.train"


async def build(page: Page) -> None:
    """Draw the page."""
    TrainPage(page)


class TrainPage:
    """The form to the left, what it will take and what it does to the right."""

    def __init__(self, page: Page):
        self.page = page
        self.form = page.form("train", layout.start("train"))
        self.fields = Fields(page, self.form)
        self.folds: dict[str, ui.expansion] = {}
        with ui.element("div").classes("pagehead"):
            text_block(page.t("nav.train"), tag="h1")
            text_block(page.t("train.intro"), tag="p")
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self._sections()
                self._folds()
            with ui.element("div").classes("bench"):
                self._forecast()
                self._start_box()
                with card():
                    self.live = ui.element("div")
        self.form.on_change(self._follow)
        self._follow(set())
        self._show_run(self._run_to_show())

    # ---- what is set ----

    def _sections(self) -> None:
        t = self.page.t
        for name, keys in layout.sections("train").items():
            with card(t(f"section.{name}"), t(f"section.{name}.hint")), ui.element("div").classes("fields"):
                for key in keys:
                    if key == "dataset":
                        self.data = self.fields.by_key[key] = DataPicker(self.page, self.form, key)
                        self.data.box.classes("full")
                    else:
                        self.fields.add(key)
                if name == "teach":
                    self.fields.add("dataset_dir")

    def _folds(self) -> None:
        with ui.element("section").classes("card"):
            text_block(self.page.t("train.more"), tag="h2")
            with ui.element("div").classes("col-4"):
                for name, keys in layout.folds("train").items():
                    self.folds[name] = self._fold(name, keys)
                self._extra()

    def _fold(self, name: str, keys: list[str]) -> ui.expansion:
        def draw() -> None:
            with ui.element("div").classes("fields"):
                for key in keys:
                    self.fields.add(key)
            self._show_relevant()

        return fold(self.page.t(f"fold.{name}"), self.page.t(f"fold.{name}.hint"), draw)

    def _extra(self) -> None:
        def draw() -> None:
            text_block(self.page.t("extra.hint"), "hint muted small")
            area = ui.textarea(value=self.page.store.get("extra.train", "")).props(
                f'outlined dense autogrow debounce=400 aria-label="{escape(self.page.t("fold.extra"))}" '
                'input-class="mono" placeholder="weight_decay: 0.01"'
            )
            area.classes("wide").on_value_change(lambda event: self._set_extra(event.value or ""))

        fold(self.page.t("fold.extra"), self.page.t("fold.extra.hint"), draw)

    def _set_extra(self, text: str) -> None:
        self.page.store["extra.train"] = text
        self._follow(set())

    def settings(self) -> dict[str, Any]:
        """Everything that is set on the page."""
        extra = read_yaml(self.page.store.get("extra.train", "")) if self.page.store.get("extra.train") else {}
        settings = {"stage": "sft", "do_train": True, **self.form.settings(), **extra}
        if not settings.get("dataset"):  # a page that was just opened has no faults yet
            del settings["do_train"]
        return settings

    def _follow(self, changed: set[str]) -> None:
        """After every change: what is wrong, what is advised, what it will take."""
        try:
            settings = self.settings()
            config, problems = check(settings)
        except LuthierError as error:
            settings, config, problems = {}, None, {"": self.page.explain(error)}
        problems = {**problems, **outside(settings, self.page.settings)}
        elsewhere = self.fields.complain(problems)
        said = [translate(self.page.lang, text) for text in elsewhere.values()]
        said += [translate(self.page.lang, text) for text in (warnings_of(config) if config else [])]
        self.said.set_content("".join(f'<div class="note">{escape(text)}</div>' for text in said))
        self._show_relevant()
        self._advise()
        if changed & {"stage", "dataset_dir"}:
            self.data.refresh()
        self.forecast.ask(settings, problems)

    def _show_relevant(self) -> None:
        settings = self.form.settings()
        for key, field in self.fields.by_key.items():
            field.show(layout.is_relevant(key, settings))
        for name, made in self.folds.items():
            keys = layout.folds("train").get(name, [])
            some = any(layout.is_relevant(key, settings) for key in keys)
            made.set_visibility(some and layout.fold_is_relevant("train", name, settings))

    def _advise(self) -> None:
        found = advise(self.form.settings(), self.forecast.answer)
        for key, field in self.fields.by_key.items():
            advice = found.get(key)
            field.advise(self.page.t(advice.words, **advice.values) if advice else "", advice.take if advice else None)

    # ---- what it will take ----

    def _forecast(self) -> None:
        with card(self.page.t("forecast.title")):
            self.forecast = ForecastBox(self.page, lambda _: self._advise())
            self.said = ui.html("", sanitize=False)

    def _start_box(self) -> None:
        t = self.page.t
        with card(t("start.title")):
            self.output = ui.input(label=self.page.label("output_dir"), placeholder=self._fresh_folder())
            self.output.props('outlined dense stack-label data-test="output"').classes("wide")
            self.waits = ui.switch(t("start.waits"), value=True).props("dense")
            with ui.element("div").classes("row-8"):
                self.start_button = button(t("start"), self._start, drawing="play", kind="main").props('data-test="start"')
                preview_buttons(self.page, "train", self._settings_to_show)
                save_button(self.page, "train", self._settings_to_show)
                load_button(self.page, self.form)

    def _fresh_folder(self) -> str:
        model = Path(str(self.page.model.get("model_name_or_path") or "starter")).name
        method = self.page.model.get("finetuning_type") or "lora"
        return f"saves/{model}/{method}/{datetime.now():%Y-%m-%d-%H%M%S}"

    def _settings_to_show(self) -> dict[str, Any]:
        return self.settings() | {"output_dir": (self.output.value or "").strip() or self._fresh_folder()}

    async def _start(self) -> None:
        try:
            settings = self._settings_to_show()
        except LuthierError as error:
            self.page.complain(error)
            return
        problems = {**check(settings)[1], **outside(settings, self.page.settings)}
        if not settings.get("dataset"):
            problems["dataset"] = "no_dataset"
        if problems:
            self.fields.complain(
                {**problems, **({"dataset": self.page.t("data.choose_first")} if "dataset" in problems else {})}
            )
            first = next(iter(problems))
            text = self.page.t("data.choose_first") if problems[first] == "no_dataset" else problems[first]
            self.page.complain(text)
            return
        if Run(Path(settings["output_dir"]).expanduser()).status_file.is_file() and not await self._may_replace(settings):
            return
        self.start_button.disable()
        try:
            run = await background.io_bound(lambda: jobs.start("train", settings, waits=bool(self.waits.value)))
        except LuthierError as error:
            self.page.complain(error)
            return
        finally:
            self.start_button.enable()
        self.output.value = ""
        self.output.props(f'placeholder="{escape(self._fresh_folder(), quote=True)}"')
        self.page.store[LAST_RUN] = str(run.folder)
        self.page.tell("start.done", name=run.folder.name)
        self._show_run(run)

    async def _may_replace(self, settings: dict[str, Any]) -> bool:
        """A folder that holds a run: nothing is overwritten unless the reader says so."""
        if settings.get("overwrite_output_dir") or settings.get("resume_from_checkpoint"):
            return True
        t = self.page.t
        if await confirm(
            self.page, t("replace.title"), t("replace.text", folder=settings["output_dir"]), t("replace"), danger=True
        ):
            settings["overwrite_output_dir"] = True
            return True
        return False

    # ---- what it does ----

    def _run_to_show(self) -> Run | None:
        """The run that is at work, else the one that was started here last."""
        runs = [(run, status) for run, status in jobs.listed() if run.kind == "train"]
        last = self.page.store.get(LAST_RUN)
        at_work = [run for run, status in runs if status["state"] in LIVE]
        mine = [run for run, _ in runs if str(run.folder) == last]
        if mine and (mine[0] in at_work or not at_work):
            return mine[0]
        return at_work[-1] if at_work else None

    def _show_run(self, run: Run | None) -> None:
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "live.none", "live.none.hint")
            else:
                LiveRun(self.page, run)
