"""What an evaluation found: scores side by side, answers beside references with the worst first, differences with how sure
they are, marks on a benchmark.

Enters: finished runs.  Leaves: elements. Text of models and datasets is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nicegui import ui

from luthier.runs import Run
from luthier.webui import jobs
from luthier.webui.answers import Answer, read_answers
from luthier.webui.page import Page
from luthier.webui.parts import button, plain_table, text_block
from luthier.webui.words import figure

SHOWN = 20
PROMPT_SHOWN = 600
MARKS = re.compile(r"<\|[^|<>\s]+\|>")
"""<|im_start|> and the like: the template's, not the asker's."""

MOST_SHOWN = 4
"""Runs beside one another."""


def finished(what: str) -> dict[str, Run]:
    """Folder -> run, newest first, of those that have results of this kind: predict, compare or eval (a benchmark)."""
    has = {"predict": Run.predictions_file, "compare": Run.comparison, "eval": Run.benchmark}[what]
    return {str(run.folder): run for run, _ in jobs.listed() if (run.folder / has.name).exists() and _fits(run, what)}


def _fits(run: Run, what: str) -> bool:
    return run.kind == what if what != "predict" else bool(run.read_results("predict"))


def show(page: Page, what: str, runs: Sequence[Run]) -> None:
    """Draw the results of runs here."""
    if what == "compare":
        comparison(page, runs[0])
    elif what == "eval":
        marks(page, runs)
    else:
        scores(page, runs)
        answers(page, {run.folder.name: read_answers(run.predictions_file) for run in runs})


# ---- scores ----


def scores(page: Page, runs: Sequence[Run]) -> None:
    """Every figure of every run."""
    results = [run.read_results("predict") for run in runs]
    _figures(page, {run.folder.name: one for run, one in zip(runs, results)})


def marks(page: Page, runs: Sequence[Run]) -> None:
    """Percent right on a benchmark, by category."""
    _figures(page, {run.folder.name: benchmark_marks(run) for run in runs})


def benchmark_marks(run: Run) -> dict[str, float]:
    """results.log: `        Average: 34.50` and so on."""
    found = {}
    for line in (run.benchmark / "results.log").read_text(encoding="utf-8").splitlines():
        name, _, value = line.rpartition(":")
        found[name.strip()] = float(value)
    return found


def _figures(page: Page, results: Mapping[str, Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for one in results.values() for name in one))
    rows = []
    for name in names:
        words = [figure(page.lang, name, one.get(name)) for one in results.values()]
        rows.append([words[0][0], *(text for _, text in words)])
    heads = [page.t("evaluate.score"), *results]
    text_block(page.t("evaluate.scores"), tag="h3")
    html = plain_table(heads, rows, numeric=range(1, len(heads)))
    ui.html(f'<div class="fit">{html}</div>', sanitize=False).classes("scroll-x").props('data-test="scores"')


# ---- comparison ----


def comparison(page: Page, run: Run) -> None:
    """Figures of each model, the differences and how sure they are, the answers side by side."""
    t = page.t
    found = json.loads(run.comparison.read_text(encoding="utf-8"))
    _figures(page, found["models"])
    text_block(t("evaluate.differences", name=found["against"], count=f"{found['rows']:,}"), tag="h3")
    rows = [
        [
            name,
            figure(page.lang, score, None)[0],
            f"{one['mean']:+.2f}",
            f"{one['low']:+.2f} … {one['high']:+.2f}",
            t("yes" if one["sure"] else "no"),
        ]
        for name, by_score in found["differences"].items()
        for score, one in by_score.items()
    ]
    heads = [t("runs.model"), t("evaluate.score"), t("evaluate.difference"), t("evaluate.interval"), t("evaluate.sure")]
    html = plain_table(heads, rows, numeric=[2, 3])
    ui.html(f'<div class="fit">{html}</div>', sanitize=False).classes("scroll-x").props('data-test="differences"')
    answers(page, {name: read_answers(Run(run.folder / name).predictions_file) for name in found["models"]})


def _difference(one: Mapping[str, Any]) -> tuple[str, str]:
    """The mean and the range in which 95 % of resamples lie."""
    return f"{one['mean']:+.2f}", f"{one['low']:+.2f} … {one['high']:+.2f}"


# ---- answers ----


def answers(page: Page, by_name: Mapping[str, Sequence[Answer]]) -> None:
    """Rows of the first, worst first, each with what the others answered; a filter, and more on demand."""
    t, names, rows = page.t, list(by_name), list(by_name.values())
    count = SHOWN
    with ui.element("div").classes("row-8 apart"):
        text_block(t("evaluate.rows"), tag="h3")
        search = ui.input(placeholder=t("evaluate.filter")).props(
            f'outlined dense debounce=250 clearable aria-label="{t("evaluate.filter")}"'
        )
    place = ui.html("", sanitize=False).props('data-test="answers"')
    more = button(t("evaluate.more"), kind="quiet")

    def draw() -> None:
        found = _filtered(rows, search.value or "")
        says = t("evaluate.shown", shown=min(count, len(found)), count=f"{len(found):,}")
        html = "".join(_pair(page, names, one) for one in found[:count])
        place.set_content(f'<div class="small muted">{escape(says)}</div>{html}')
        more.set_visibility(count < len(found))

    def further() -> None:
        nonlocal count
        count += SHOWN
        draw()

    search.on_value_change(draw)
    more.on_click(further)
    draw()


def _filtered(rows: Sequence[Sequence[Answer]], text: str) -> list[list[Answer | None]]:
    """Rows of the first run, each with those of the others that ask the same (None where one did not)."""
    others = [{(one.prompt, one.reference): one for one in other} for other in rows[1:]]
    word = text.casefold()
    return [
        [one, *(other.get((one.prompt, one.reference)) for other in others)]
        for one in rows[0]
        if word in f"{one.prompt}\n{one.answer}\n{one.reference}".casefold()
    ]


def _pair(page: Page, names: Sequence[str], row: Sequence[Answer | None]) -> str:
    """One question: reference and answers side by side, everything escaped."""
    t, first = page.t, row[0]
    assert first is not None
    prompt = MARKS.sub("", first.prompt).strip().removeprefix("user\n").removesuffix("assistant").strip()
    prompt = prompt if len(prompt) <= PROMPT_SHOWN else f"… {prompt[-PROMPT_SHOWN:]}"
    parts = [f'<div class="ask muted small break">{escape(prompt)}</div>']
    parts.append(_said(t("evaluate.reference"), "", first.reference, ""))
    for name, answer in zip(names, row):
        if answer is not None:
            head = f"{t('evaluate.answer')} · {name}" if len(names) > 1 else t("evaluate.answer")
            parts.append(_said(head, t("evaluate.likeness", score=f"{answer.likeness:.0f}"), answer.answer, "ours"))
    return f'<div class="pair">{"".join(parts)}</div>'


def _said(name: str, note: str, text: str, look: str) -> str:
    head = f'<div class="small muted row-8 apart"><span>{escape(name)}</span><span>{escape(note)}</span></div>'
    return f'<div class="col-4">{head}<div class="said {look}">{escape(text)}</div></div>'
