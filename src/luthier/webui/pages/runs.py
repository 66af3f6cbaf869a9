"""Runs: everything that runs or has run on this machine, one by one or beside one another.

Enters: a Page.  Leaves: what the run folders say; buttons that stop, go on, reuse, delete.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runs import LIVE, Run, shown_path
from luthier.runtime.files import size_text
from luthier.runtime.progress import duration
from luthier.webui import jobs, layout
from luthier.webui.charts import Line, line_chart
from luthier.webui.commands import yaml_of
from luthier.webui.liverun import SMOOTHING, LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import STATE_LOOKS, button, card, confirm, empty, is_gone, plain_table, text_block
from luthier.webui.settingsfile import fill
from luthier.webui.words import figure

LIST_S = 3.0
COMPARED = ("loss", "eval_loss", "learning_rate", "grad_norm")
COMPARED_POINTS = 400
NOT_COMPARED = ("output_dir",)
SHOWN_FILES = 60


async def build(page: Page) -> None:
    """Draw the page."""
    RunsPage(page)


class RunsPage:
    """The list above, what was chosen in it below."""

    def __init__(self, page: Page):
        self.page = page
        self.shown: Path | None = None
        self.rows: list[dict[str, Any]] = []
        with ui.element("div").classes("pagehead"):
            text_block(page.t("nav.runs"), tag="h1")
            text_block(page.t("runs.intro"), tag="p")
        self.list = ui.element("div").classes("col-8")
        self.detail = ui.element("div").classes("col-24")
        runs = jobs.listed()
        self._draw_list(runs)
        if runs:
            with self.detail:
                text_block(page.t("runs.choose"), "muted")
        ui.timer(LIST_S, self._follow)

    # ---- the list ----

    def _draw_list(self, runs: list[tuple[Run, dict[str, Any]]]) -> None:
        page = self.page
        self.rows = [_row(page, run, status) for run, status in runs]
        with self.list:
            if not runs:
                empty(page, "runs.none", "runs.none.hint")
                self.table = None
                return
            with ui.element("div").classes("row-8 apart"):
                search = ui.input(placeholder=page.t("runs.search")).props(
                    f'outlined dense debounce=200 clearable aria-label="{page.t("runs.search")}"'
                )
                self.compare = button(page.t("runs.compare"), self._compare, drawing="compare")
                self.compare.props('data-test="compare"').disable()
            columns = [
                {"name": name, "label": page.t(f"runs.{name}"), "field": name, "sortable": True, "align": align}
                for name, align in COLUMNS.items()
            ]
            self.table = ui.table(rows=self.rows, columns=columns, row_key="folder", selection="multiple", pagination=15)
            self.table.props(
                'flat dense binary-state-sort color=primary data-test="runs" :rows-per-page-options="[15, 50, 0]"'
            ).classes("wide")
            self.table.add_slot(
                "body-cell-state",
                '<q-td :props="props"><span :class="\'chip \' + props.row.look">{{ props.value }}</span></q-td>',
            )
            self.table.add_slot(
                "body-cell-name",
                '<q-td :props="props"><a href="#" class="strong" style="text-decoration:none" '
                "@click.prevent.stop=\"$parent.$emit('open', props.row.folder)\">{{ props.value }}</a></q-td>",
            )
            for slot, name in (("body-selection", "props.row.name"), ("header-selection", f"'{page.t('runs.compare')}'")):
                box = f'<q-checkbox v-model="props.selected" dense color="primary" :aria-label="{name}"></q-checkbox>'
                self.table.add_slot(slot, box)
            self.table.on("open", lambda event: self._show(str(event.args)))
            self.table.on("rowClick", lambda event: self._show(event.args[1]["folder"]), [[], ["folder"], None])
            self.table.on_select(lambda event: self._mark(len(event.selection)))
            search.on_value_change(
                lambda event: self.table.props.__setitem__("filter", event.value or "") or self.table.update()
            )

    def _mark(self, count: int) -> None:
        self.compare.enable() if count > 1 else self.compare.disable()

    async def _follow(self) -> None:
        runs = await background.io_bound(jobs.listed)
        if is_gone(self.list):
            return
        rows = [_row(self.page, run, status) for run, status in runs]
        if rows == self.rows:
            return
        if self.table is None or not rows:
            self.list.clear()
            self._draw_list(runs)
        else:
            self.rows = rows
            self.table.update_rows(rows, clear_selection=False)

    # ---- one run ----

    def _show(self, folder: str) -> None:
        try:
            run = Run.open(folder)
        except LuthierError as error:
            self.page.complain(error)
            return
        self.shown = run.folder
        self.detail.clear()
        with self.detail:
            self._one(run)
        ui.run_javascript(f"getHtmlElement({self.detail.id}).scrollIntoView({{behavior: 'smooth', block: 'start'}})")

    def _one(self, run: Run) -> None:
        t = self.page.t
        with ui.element("div").classes("two"):
            with card():
                LiveRun(self.page, run)
            with card():
                with ui.element("div").classes("row-8"):
                    if run.kind == "train":
                        button(t("runs.clone"), lambda: self._clone(run), drawing="copy").props('data-test="clone"')
                        if run.has_model():
                            button(t("runs.chat"), lambda: self._chat(run), drawing="chat")
                    button(t("runs.tensorboard"), lambda: self._tensorboard(run, events), drawing="open").props(
                        'data-test="tensorboard"'
                    )
                    button(t("delete"), lambda: self._delete(run), drawing="delete", kind="danger").props('data-test="delete"')
                events = ui.element("div").classes("col-4")
                with ui.tabs().props("dense align=left") as tabs:
                    results = ui.tab("results", t("runs.results"))
                    ui.tab("settings", t("runs.settings"))
                    ui.tab("files", t("runs.files"))
                with ui.tab_panels(tabs, value=results, animated=False).classes("wide"):
                    with ui.tab_panel("results"):
                        ui.html(_results(self.page, run), sanitize=False)
                    with ui.tab_panel("settings"):
                        ui.html(escape(yaml_of(_settings(run))), sanitize=False, tag="pre").classes("code").props("tabindex=0")
                    with ui.tab_panel("files"):
                        ui.html(_files(self.page, run), sanitize=False)

    def _clone(self, run: Run) -> None:
        try:
            fill(self.page, self.page.form("train", layout.start("train")), run.saved_config())
        except LuthierError as error:
            self.page.complain(error)
            return
        self.page.tell("runs.cloned")
        ui.navigate.to("/")

    def _chat(self, run: Run) -> None:
        config = _settings(run)
        is_adapter = (run.folder / "adapter_config.json").is_file()
        self.page.model.update(
            {
                "model_name_or_path": config.get("model_name_or_path") if is_adapter else str(run.folder),
                "adapter_name_or_path": [str(run.folder)] if is_adapter else None,
            }
        )
        ui.navigate.to("/chat")

    async def _delete(self, run: Run) -> None:
        t = self.page.t
        text = t("runs.delete.text", folder=shown_path(run.folder))
        if not await confirm(self.page, t("runs.delete.title"), text, t("delete"), danger=True):
            return
        try:
            self.page.settings.allow(run.folder, t("runs.name"))
            await background.io_bound(run.remove)
        except LuthierError as error:
            self.page.complain(error)
            return
        self.page.tell("runs.deleted", name=run.folder.name)
        self.detail.clear()
        await self._follow()

    async def _tensorboard(self, run: Run, place: ui.element) -> None:
        """In a tab of its own, and as a link: it takes seconds to start, and browsers block tabs that come so late."""
        if not run.tensorboard_folder.is_dir():
            self.page.complain(self.page.t("runs.tensorboard.none"))
            return
        try:
            address = await self.page.shared.tensorboards.open(run.tensorboard_folder)
        except LuthierError as error:
            self.page.complain(error)
            return
        if is_gone(place):
            return
        place.clear()
        with place:
            words = f"{self.page.t('runs.tensorboard.open')}: {address}"
            ui.link(words, address, new_tab=True).classes("break").props('data-test="events"')
        ui.navigate.to(address, new_tab=True)

    # ---- several runs ----

    def _compare(self) -> None:
        assert self.table is not None
        runs = [Run.open(row["folder"]) for row in self.table.selected]
        page, curves = self.page, self.page.shared.curves
        self.detail.clear()

        def draw(which: str) -> dict[str, Any]:
            lines = []
            for number, run in enumerate(runs):
                series = curves.thinned(
                    run.metrics_file, [which], COMPARED_POINTS, smoothing=SMOOTHING if which == "loss" else 0.0
                )
                if which in series:
                    lines.append(Line(name=run.folder.name, points=series[which], number=number, dots=which == "eval_loss"))
            return line_chart(lines, dark=page.dark, x=page.t("axis.step"), y=page.t(f"axis.{which}"))

        with self.detail, card(page.t("runs.compare.title", count=len(runs))):
            with ui.element("div").classes("row-8"):
                words = {name: page.t(f"metric.{name}") for name in COMPARED}
                which = ui.select(words, value="loss").props(
                    f'outlined dense options-dense aria-label="{page.t("live.which")}"'
                )
            chart = ui.echart(draw("loss")).classes("chart tall").props('data-test="overlay"')

            def redraw(event: Any) -> None:
                chart.options.clear()
                chart.options.update(draw(event.value))
                chart.update()

            which.on_value_change(redraw)
            text_block(page.t("runs.differences"), tag="h3")
            ui.html(_differences(page, runs), sanitize=False).classes("scroll-x").props('data-test="differences"')


COLUMNS = {
    "name": "left", "state": "left", "what": "left", "model": "left", "data": "left", "step": "right", "loss": "right",
    "eval_loss": "right", "time": "right", "started": "left",
}  # fmt: skip


def _row(page: Page, run: Run, status: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table, as plain values."""
    state = str(status.get("state"))
    method = page.choice("finetuning_type", status.get("finetuning_type") or "lora")
    what = f"{str(status.get('stage') or 'sft').upper()} · {method}"
    return {
        "folder": str(run.folder),
        "name": str(status.get("name") or run.folder.name),
        "state": page.t(f"state.{state}"),
        "look": STATE_LOOKS.get(state, ""),
        "what": what if run.kind == "train" else page.t(f"kind.{run.kind}"),
        "model": Path(str(status.get("model_name_or_path") or "–")).name,
        "data": ", ".join(Path(name).name for name in status.get("dataset") or []),
        "step": f"{status['step']:,} / {status['total_steps']:,}" if status.get("step") and status.get("total_steps") else "–",
        "loss": f"{status['loss']:.4f}" if isinstance(status.get("loss"), float) else "–",
        "eval_loss": f"{status['eval_loss']:.4f}" if isinstance(status.get("eval_loss"), float) else "–",
        "time": _took(status),
        "started": time.strftime("%m-%d %H:%M", time.localtime(status.get("started_at") or status.get("created_at") or 0)),
    }


def _took(status: Mapping[str, Any]) -> str:
    started = status.get("started_at")
    if not started:
        return "–"
    over = status.get("finished_at") or status.get("updated_at") or started
    return duration((time.time() if status["state"] in LIVE else over) - started)


def _settings(run: Run) -> dict[str, Any]:
    with suppress(OSError):
        return run.saved_config()
    return {}


def _results(page: Page, run: Run) -> str:
    rows = [list(figure(page.lang, name, value)) for name, value in run.read_results().items()]
    return plain_table([page.t("evaluate.score"), ""], rows, numeric=[1]) if rows else '<p class="muted">–</p>'


def _files(page: Page, run: Run) -> str:
    files = sorted(file for file in run.folder.rglob("*") if file.is_file())
    rows = [[str(file.relative_to(run.folder)), size_text(file.stat().st_size)] for file in files[:SHOWN_FILES]]
    if len(files) > SHOWN_FILES:
        rows.append([f"… {len(files) - SHOWN_FILES}", ""])
    return plain_table([page.t("runs.files"), page.t("data.size")], rows, numeric=[1])


def _differences(page: Page, runs: list[Run]) -> str:
    """The keys whose values are not the same in all runs, and their last numbers."""
    settings = [_settings(run) for run in runs]
    keys = [key for key in dict.fromkeys(key for one in settings for key in one) if key not in NOT_COMPARED]
    rows = []
    for key in keys:
        values = [one.get(key) for one in settings]
        if any(value != values[0] for value in values):
            rows.append([key, *(_short(value) for value in values)])
    for name in ("loss", "eval_loss"):
        values = [run.status().get(name) for run in runs]
        if any(value is not None for value in values):
            rows.append([page.t(f"runs.{name}"), *(f"{value:.4f}" if isinstance(value, float) else "–" for value in values)])
    if not rows:
        return f'<p class="muted">{escape(page.t("runs.same"))}</p>'
    return plain_table([page.t("key"), *(run.folder.name for run in runs)], rows)


def _short(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
