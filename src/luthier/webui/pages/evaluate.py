"""Evaluate and predict: let a model answer a dataset, several models the same one, or a benchmark; then look where they fall
short.

Enters: a Page.  Leaves: predict, compare and eval runs; their results.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.runs import Run
from luthier.webui import layout, results
from luthier.webui.datapicker import DataPicker
from luthier.webui.fields import Field, Suggested
from luthier.webui.formpage import FormPage
from luthier.webui.liverun import LiveRun
from luthier.webui.models import trained
from luthier.webui.page import Page
from luthier.webui.parts import card, empty, text_block

SECTIONS = {"predict": ("ask", "answer"), "compare": ("ask", "rivals", "answer"), "eval": ("questions",)}
"""What is done -> which cards it needs. The names are the verbs of the command line."""

NEEDED = {"predict": ("dataset",), "compare": ("dataset", "models"), "eval": ("task",)}
FEWEST = 2
"""Models of a comparison."""

HARNESS = "lm_eval:"
"""Such tasks bring their own data."""


async def build(page: Page) -> None:
    """Draw the page."""
    EvaluatePage(page)


class Rivals(Suggested):
    """Which models answer: the base, those trained here, any other by its name."""

    def suggestions(self) -> dict[str, str]:
        """base, then every trained model and adapter."""
        whole = {folder: facts["name"] for folder, facts in trained().items() if facts["step"] is None}
        return {"base": self.page.t("evaluate.base"), **whole}


class Task(Suggested):
    """Which benchmark."""

    def suggestions(self) -> dict[str, str]:
        """Those that luthier eval knows."""
        return {"mmlu_test": "MMLU", "ceval_validation": "C-Eval", "cmmlu_test": "CMMLU", "gsm8k_test": "GSM8K", "bfcl": "BFCL"}


class EvaluatePage(FormPage):
    """The form to the left, the run to the right, the results below. verb: predict, compare or eval (a benchmark)."""

    name = "evaluate"
    always = {"stage": "sft"}
    pickers: Mapping[str, type[Field]] = {"dataset": DataPicker, "models": Rivals, "task": Task}

    def __init__(self, page: Page):
        self.verb = page.store.get("evaluate.verb", "predict")
        super().__init__(page)
        self.head()
        words = {verb: page.t(f"evaluate.{verb}") for verb in SECTIONS}
        ui.toggle(words, value=self.verb, on_change=lambda event: self._turn(event.value)).props(
            f'no-caps unelevated padding="4px 16px" aria-label="{escape(page.t("evaluate.what"))}" data-test="what"'
        ).classes("own-width")
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self.draw_sections()
                self.draw_folds()
            with ui.element("div").classes("bench"):
                with card(page.t("evaluate.start")):
                    self.what = text_block("", "muted")
                    self.draw_start(page.t("evaluate.start"))
                with card():
                    self.live = ui.element("div")
        with card(page.t("evaluate.results")):
            self.results = ui.element("div").classes("col-16")
        self.form.on_change(self.follow)
        self._turn(self.verb)

    def _turn(self, verb: str) -> None:
        """Do this from now on."""
        self.verb = self.page.store["evaluate.verb"] = verb
        self.needed = NEEDED[verb]
        for name, shown in self.cards.items():
            shown.set_visibility(name in SECTIONS[verb])
        self.what.set_content(escape(self.page.t(f"evaluate.{verb}.hint")))
        self.output.props(f'placeholder="{escape(self.fresh_folder(), quote=True)}"')
        self.follow(set())
        self.show_run(self.last_run())
        self._choose()

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Without the keys of what is not done."""
        sections = layout.sections(self.name)
        mine = {key for name in SECTIONS[self.verb] for key in sections[name]}
        foreign = {key for keys in sections.values() for key in keys} - mine
        return {key: value for key, value in super().settings().items() if key not in foreign}

    def problems(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Also what only the started command would say."""
        found = super().problems(settings)
        models = settings.get("models") or []
        if self.verb == "compare" and models and len(set(models)) < max(FEWEST, len(models)):
            found.setdefault("models", self.page.t("evaluate.two_models"))
        task = str(settings.get("task") or "")
        folder = Path(str(settings.get("task_dir") or "evaluation")).expanduser() / task.partition("_")[0]
        if self.verb == "eval" and task and not task.startswith(HARNESS) and not folder.is_dir():
            found.setdefault("task_dir", self.page.t("evaluate.no_task", folder=str(folder)))
        return found

    def job_settings(self) -> dict[str, Any]:
        """A benchmark writes into a folder of its own."""
        settings = super().job_settings()
        if self.verb == "eval":
            settings["save_dir"] = str(Path(settings["output_dir"]) / Run.benchmark.name)
        return settings

    def fresh_folder(self) -> str:
        """saves/verb/model-time"""
        names = self.page.model.get("adapter_name_or_path") or [self.page.model.get("model_name_or_path") or "starter"]
        return f"saves/{self.verb}/{Path(names[-1]).name}-{datetime.now():%Y-%m-%d-%H%M%S}"

    def show_relevant(self) -> None:
        """A benchmark generates nothing."""
        super().show_relevant()
        for name in ("generation", "samples") if self.verb == "eval" else ():
            self.folds[name].set_visibility(False)

    # ---- the run and its results ----

    def show_run(self, run: Run | None) -> None:
        """Its progress and log; its results when it is done."""
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "evaluate.none", "evaluate.none.hint")
            else:
                LiveRun(self.page, run, on_state=lambda state: self._choose() if state == "finished" else None)

    def _choose(self) -> None:
        """Which runs are looked at: the newest, and others beside it."""
        t, verb = self.page.t, self.verb
        runs = results.finished(verb)
        self.results.clear()
        with self.results:
            if not runs:
                empty(self.page, "evaluate.none", "evaluate.none.hint")
                return
            several = verb != "compare"
            first = next(iter(runs))
            words = {folder: run.folder.name for folder, run in runs.items()}
            chosen = ui.select(words, value=[first] if several else first, multiple=several).classes("wide")
            chosen.props(f'outlined dense options-dense label="{escape(t("evaluate.choose"))}" data-test="results"')
            chosen.props("use-chips" if several else "")
            place = ui.element("div").classes("col-16")

        def draw() -> None:
            place.clear()
            folders = (chosen.value if several else [chosen.value])[: results.MOST_SHOWN]
            if folders:
                with place:
                    results.show(self.page, verb, [runs[folder] for folder in folders])

        chosen.on_value_change(draw)
        draw()
