"""Train: say what to teach and how, see what it will take, start, and watch it learn.

Enters: a Page.  Leaves: a run folder that a process of its own fills; this page only reads it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.runs import LIVE, Run
from luthier.webui import jobs
from luthier.webui.advice import advise
from luthier.webui.forecastbox import ForecastBox
from luthier.webui.formpage import FormPage
from luthier.webui.liverun import LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import card, empty
from luthier.webui.settingsfile import load_button, save_button


async def build(page: Page) -> None:
    """Draw the page."""
    TrainPage(page)


class TrainPage(FormPage):
    """The form to the left, what it will take and what it does to the right."""

    name = verb = "train"
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
                self._start_box()
                with card():
                    self.live = ui.element("div")
        self.form.on_change(self.follow)
        self.follow(set())
        self.show_run(self.last_run())

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
            with self.draw_start(t("start")):
                save_button(self.page, "train", self.job_settings)
                load_button(self.page, self.form)
            self.waits = ui.switch(t("start.waits"), value=True).props("dense")

    def fresh_folder(self) -> str:
        """saves/model/method/time"""
        model = Path(str(self.page.model.get("model_name_or_path") or "starter")).name
        method = self.page.model.get("finetuning_type") or "lora"
        return f"saves/{model}/{method}/{datetime.now():%Y-%m-%d-%H%M%S}"

    def start_job(self, settings: dict[str, Any]) -> Run:
        """Now, or when the runs before it are done."""
        return jobs.start("train", settings, waits=bool(self.waits.value))

    # ---- what it does ----

    def last_run(self) -> Run | None:
        """The run that is at work, else the one that was started here last, else the newest of all."""
        runs = [(run, status) for run, status in jobs.listed() if run.kind == "train"]
        last = self.page.store.get("run.train")
        at_work = [run for run, status in runs if status["state"] in LIVE]
        mine = [run for run, _ in runs if str(run.folder) == last]
        if mine and (mine[0] in at_work or not at_work):
            return mine[0]
        return at_work[-1] if at_work else next((run for run, _ in runs), None)

    def show_run(self, run: Run | None) -> None:
        """Its progress, curves and ending."""
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "live.none", "live.none.hint")
            else:
                LiveRun(self.page, run)
