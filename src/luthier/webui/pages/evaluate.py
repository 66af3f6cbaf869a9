"""Evaluate and predict: let a model answer a dataset, then look at scores and at the answers that miss the most.

Enters: a Page.  Leaves: predict runs; their scores side by side, their rows worst first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from nicegui import ui

from luthier.runs import Run
from luthier.webui import jobs
from luthier.webui.answers import Answer, read_answers
from luthier.webui.formpage import FormPage
from luthier.webui.liverun import LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import button, card, empty, plain_table, text_block

SHOWN = 20
PROMPT_SHOWN = 600
MOST_COMPARED = 4


async def build(page: Page) -> None:
    """Draw the page."""
    EvaluatePage(page)


class EvaluatePage(FormPage):
    """The form to the left, the run and its results to the right and below."""

    name = "evaluate"
    verb = "predict"
    always = {"stage": "sft"}

    def __init__(self, page: Page):
        super().__init__(page)
        self.count = SHOWN
        self.head()
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self.draw_sections()
                self.draw_folds()
            with ui.element("div").classes("bench"):
                with card(page.t("evaluate.predict")):
                    self.draw_start(page.t("evaluate.start"))
                with card():
                    self.live = ui.element("div")
        with card(page.t("evaluate.results")):
            self.results = ui.element("div").classes("col-16")
        self.form.on_change(self.follow)
        self.follow(set())
        self.show_run(self.last_run())
        self._choose()

    def fresh_folder(self) -> str:
        """saves/predict/model-time"""
        names = self.page.model.get("adapter_name_or_path") or [self.page.model.get("model_name_or_path") or "starter"]
        return f"saves/predict/{Path(names[-1]).name}-{datetime.now():%Y-%m-%d-%H%M%S}"

    def show_run(self, run: Run | None) -> None:
        """Its progress and log; its results when it is done."""
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "evaluate.none", "evaluate.none.hint")
            else:
                LiveRun(self.page, run, on_state=lambda state: self._choose() if state == "finished" else None)

    # ---- results ----

    def _choose(self) -> None:
        """Which runs are looked at: the newest, and others beside it."""
        t = self.page.t
        runs = {str(run.folder): run for run, _ in jobs.listed() if run.read_results("predict")}
        self.results.clear()
        with self.results:
            if not runs:
                empty(self.page, "evaluate.none", "evaluate.none.hint")
                return
            words = {folder: run.folder.name for folder, run in runs.items()}
            chosen = ui.select(words, value=[next(iter(runs))], multiple=True)
            chosen.props(f'outlined dense use-chips options-dense label="{escape(t("evaluate.choose"))}" data-test="results"')
            chosen.classes("wide")
            place = ui.element("div").classes("col-16")
        chosen.on_value_change(lambda event: self._show([runs[name] for name in event.value[:MOST_COMPARED]], place))
        self._show([next(iter(runs.values()))], place)

    def _show(self, runs: Sequence[Run], place: ui.element) -> None:
        t = self.page.t
        self.count = SHOWN
        place.clear()
        if not runs:
            return
        answers = [read_answers(run.predictions_file) for run in runs]
        with place:
            text_block(t("evaluate.scores"), tag="h3")
            ui.html(_scores(self.page, runs), sanitize=False).classes("scroll-x").props('data-test="scores"')
            with ui.element("div").classes("row-8 apart"):
                text_block(t("evaluate.rows"), tag="h3")
                search = ui.input(placeholder=t("evaluate.filter")).props(
                    f'outlined dense debounce=250 clearable aria-label="{t("evaluate.filter")}"'
                )
            rows = ui.html("", sanitize=False).props('data-test="answers"')
            more = button(t("evaluate.more"), kind="quiet")

        def draw() -> None:
            found = _filtered(answers, search.value or "")
            shown = found[: self.count]
            says = t("evaluate.shown", shown=len(shown), count=f"{len(found):,}")
            html = "".join(_pair(self.page, runs, rows_of_one) for rows_of_one in shown)
            rows.set_content(f'<div class="small muted">{escape(says)}</div>{html}')
            more.set_visibility(len(shown) < len(found))

        def further() -> None:
            self.count += SHOWN
            draw()

        search.on_value_change(draw)
        more.on_click(further)
        draw()


def _scores(page: Page, runs: Sequence[Run]) -> str:
    results = [run.read_results("predict") for run in runs]
    names = list(dict.fromkeys(name for one in results for name in one))
    rows = [
        [
            name.removeprefix("predict_"),
            *(f"{one[name]:,.4g}" if isinstance(one.get(name), int | float) else "–" for one in results),
        ]
        for name in names
    ]
    heads = [page.t("evaluate.score"), *(run.folder.name for run in runs)]
    return f'<div class="fit">{plain_table(heads, rows, numeric=range(1, len(heads)))}</div>'


def _filtered(answers: Sequence[Sequence[Answer]], text: str) -> list[list[Answer]]:
    """Rows of the first run, worst first, each with those of the other runs that ask the same."""
    others = [{(one.prompt, one.reference): one for one in rows} for rows in answers[1:]]
    word = text.casefold()
    found = []
    for one in answers[0]:
        if word and word not in f"{one.prompt}\n{one.answer}\n{one.reference}".casefold():
            continue
        found.append([one, *(rows[key] for rows in others if (key := (one.prompt, one.reference)) in rows)])
    return found


def _pair(page: Page, runs: Sequence[Run], answers: Sequence[Answer]) -> str:
    """One question: reference and answers side by side, everything escaped."""
    t, first = page.t, answers[0]
    prompt = first.prompt if len(first.prompt) <= PROMPT_SHOWN else f"… {first.prompt[-PROMPT_SHOWN:]}"
    parts = [f'<div class="ask muted small break" style="white-space:pre-wrap">{escape(prompt)}</div>']
    parts.append(_said(t("evaluate.reference"), "", first.reference, ""))
    for run, answer in zip(runs, answers):
        name = f"{t('evaluate.answer')} · {run.folder.name}" if len(runs) > 1 else t("evaluate.answer")
        parts.append(_said(name, t("evaluate.likeness", score=f"{answer.likeness:.0f}"), answer.answer, "ours"))
    return f'<div class="pair">{"".join(parts)}</div>'


def _said(name: str, note: str, text: str, look: str) -> str:
    head = f'<div class="small muted row-8 apart"><span>{escape(name)}</span><span>{escape(note)}</span></div>'
    return f'<div class="col-4">{head}<div class="said {look}">{escape(text)}</div></div>'
