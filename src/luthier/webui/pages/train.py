"""Train: say what to teach and how, see what it will take, start, and watch it learn.

Enters: a Page.  Leaves: a run folder that a process of its own fills; this page only reads it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runs import LIVE, Run
from luthier.webui import jobs
from luthier.webui.advice import advise
from luthier.webui.forecastbox import ForecastBox
from luthier.webui.formpage import FormPage
from luthier.webui.liverun import LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import button, card, confirm, empty, text_block
from luthier.webui.settingsfile import load_button, preview_buttons, save_button

LAST_RUN = "run.train"


async def build(page: Page) -> None:
    """Draw the page."""
    TrainPage(page)


class TrainPage(FormPage):
    """The form to the left, what it will take and what it does to the right."""

    name = "train"
    always = {"stage": "sft", "do_train": True}

    def __init__(self, page: Page):
        super().__init__(page)
        self.head()
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self.draw_sections()
                self.draw_folds()
            with ui.element("div").classes("bench"):
                with card(page.t("forecast.title")):
                    self.forecast = ForecastBox(page, lambda _: self._advise())
                    self.said = ui.html("", sanitize=False)
                self._start_box()
                with card():
                    self.live = ui.element("div")
        self.form.on_change(self.follow)
        self.follow(set())
        self._show_run(self._run_to_show())

    def settings(self) -> dict[str, Any]:
        """A page that was just opened has no faults yet: without data it does not ask to train."""
        settings = super().settings()
        if not settings.get("dataset"):
            del settings["do_train"]
        return settings

    def followed(self, settings: dict[str, Any], problems: dict[str, str]) -> None:
        """The forecast and the advice go with the form."""
        self._advise()
        self.forecast.ask(settings, problems)

    def _advise(self) -> None:
        found = advise(self.form.settings(), self.forecast.answer)
        for key, field in self.fields.by_key.items():
            advice = found.get(key)
            field.advise(self.page.t(advice.words, **advice.values) if advice else "", advice.take if advice else None)

    # ---- start ----

    def _start_box(self) -> None:
        t = self.page.t
        with card(t("start.title")):
            with ui.element("div").classes("field"):
                text_block(self.page.label("output_dir"), "strong")
                self.output = ui.input(placeholder=self._fresh_folder()).classes("wide")
                self.output.props(f'outlined dense data-test="output" aria-label="{self.page.label("output_dir")}"')
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
        if self.refuse(settings, "dataset"):
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
        self.output.props(f'placeholder="{self._fresh_folder()}"')
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
        """The run that is at work, else the one that was started here last, else the newest of all."""
        runs = [(run, status) for run, status in jobs.listed() if run.kind == "train"]
        last = self.page.store.get(LAST_RUN)
        at_work = [run for run, status in runs if status["state"] in LIVE]
        mine = [run for run, _ in runs if str(run.folder) == last]
        if mine and (mine[0] in at_work or not at_work):
            return mine[0]
        return at_work[-1] if at_work else next((run for run, _ in runs), None)

    def _show_run(self, run: Run | None) -> None:
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "live.none", "live.none.hint")
            else:
                LiveRun(self.page, run)
