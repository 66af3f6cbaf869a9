"""One run as it goes: progress, numbers, curves, the end of its log, and what the curve says when it is over.

Enters: a Run.  Leaves: elements that follow the run folder, whoever started the run. Nothing here can harm it but the three
buttons.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

import psutil
from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runs import LIVE, Run, read_rows, shown_path
from luthier.runtime.files import size_text
from luthier.runtime.progress import duration
from luthier.webui import jobs
from luthier.webui.charts import Line, line_chart, loss_lines
from luthier.webui.page import Page
from luthier.webui.parts import button, confirm, is_gone, state_chip, text_block
from luthier.webui.words import translate

FOLLOW_S = 1.5
LOG_BYTES = 20_000
SAMPLES_SHOWN = 30
NOT_DRAWN = ("epoch", "total_steps", "elapsed_s", "tokens_seen")
SMOOTHING = 0.06
CHARTS = {
    "loss": ("loss", "eval_loss"),
    "reward": ("reward", "eval_reward"),
    "learning_rate": ("learning_rate",),
    "grad_norm": ("grad_norm",),
    "tokens_per_second": ("tokens_per_second",),
}


class LiveRun:
    """on_state: called with the new state when it changes."""

    def __init__(self, page: Page, run: Run, on_state: Callable[[str], None] | None = None, *, with_buttons: bool = True):
        self.page, self.run, self.on_state = page, run, on_state
        self.state = ""
        self._drawn: Any = None
        self._log_seen: Any = None
        with ui.element("div").classes("col-16").props('data-test="live"'):
            self.head = ui.html("", sanitize=False).props('role="status" data-test="live-head"')
            self.bar = ui.html("", sanitize=False)
            if with_buttons:
                self.buttons = ui.element("div").classes("row-8")
            else:
                self.buttons = None
            self.tiles = ui.html("", sanitize=False)
            if run.kind == "train":
                self._tabs()
            else:
                self.chart, self.which = None, None
                self._log()
            self.reading = ui.element("div").classes("col-8").props('data-test="reading"')
        self.timer = ui.timer(FOLLOW_S, self.follow)

    def _tabs(self) -> None:
        t = self.page.t
        with ui.tabs().props("dense align=left inline-label") as tabs:
            curve = ui.tab("curve", t("live.curve"))
            self.samples_tab = ui.tab("samples", t("live.samples"))
            self.samples_tab.set_visibility(False)
            ui.tab("log", t("live.log"))
        with ui.tab_panels(tabs, value=curve, animated=False).classes("wide"):
            with ui.tab_panel("curve"):
                with ui.element("div").classes("row-8 apart"):
                    words = {name: t(f"metric.{name}") for name in CHARTS}
                    self.which = ui.select(words, value="loss", on_change=self._redraw).props("outlined dense options-dense")
                    self.which.props(f'aria-label="{escape(t("live.which"))}" data-test="which"').style("min-width: 168px")
                    self.smoothing = ui.switch(t("live.smooth"), value=True, on_change=self._redraw).props("dense")
                self.chart = ui.echart(self._options()).classes("chart").props('data-test="chart"')
            with ui.tab_panel("samples"):
                self.samples = ui.html("", sanitize=False).props('data-test="drawn"')
            with ui.tab_panel("log"):
                self._log()

    def _log(self) -> None:
        self.log = (
            ui.html("", sanitize=False, tag="pre")
            .classes("log")
            .props(f'tabindex="0" role="log" aria-label="{escape(self.page.t("live.log"))}" data-test="log"')
        )

    # ---- following ----

    async def follow(self) -> None:
        """Show what the folder says now."""
        try:
            status = await background.io_bound(self.run.status)
        except LuthierError as error:
            self.timer.cancel()
            self.head.set_content(f'<span class="red">{escape(self.page.explain(error))}</span>')
            return
        if is_gone(self.head):
            return
        self._show_status(status)
        if self.chart is not None and status.get("step") != self._drawn:
            self._drawn = status.get("step")
            await self._redraw()
            await self._show_samples()
        await self._show_log()
        state = str(status.get("state"))
        if state != self.state:
            self.state = state
            self._show_buttons(state)
            self._show_reading(state)
            if self.on_state:
                self.on_state(state)
        self.timer.interval = FOLLOW_S if state in LIVE else 6.0

    def _show_status(self, status: dict[str, Any]) -> None:
        t = self.page.t
        name = status.get("name") or self.run.folder.name
        chip = state_chip(self.page, str(status.get("state")))
        head = f'<div class="row-8"><h2 class="break">{escape(str(name))}</h2>{chip}</div>'
        head += f'<div class="muted small break">{escape(shown_path(self.run.folder))}</div>'
        if status.get("reason"):
            look = "bad" if status["state"] in ("failed", "died") else ""
            reason = translate(self.page.lang, str(status["reason"]))
            head += f'<div class="note {look}" style="margin-top:8px">{escape(reason)}</div>'
        self._set(self.head, head)
        step, total = status.get("step"), status.get("total_steps")
        if self.run.kind == "predict":
            step, total = self._answered(), None
        done = 100 * step / total if step is not None and total else 100 if status.get("state") == "finished" else 0
        words = [t("live.step", step=f"{step:,}", total=f"{total:,}")] if step is not None and total else []
        if step is not None and not total:
            words.append(t("live.answers", count=f"{step:,}"))
        words += _times(t, status, step, total)
        self._set(
            self.bar,
            f'<div class="progress" role="progressbar" aria-valuenow="{done:.0f}" aria-valuemin="0" aria-valuemax="100" '
            f'aria-label="{escape(t("live.progress"))}"><i style="width:{done:.1f}%"></i></div>'
            f'<div class="row-8 apart small muted" style="margin-top:4px"><span>{escape(" · ".join(words))}</span>'
            f"<span>{done:.0f} %</span></div>",
        )
        if self.run.kind == "train":
            self._set(self.tiles, self._tile_html(status))

    def _tile_html(self, status: dict[str, Any]) -> str:
        columns = self.page.shared.curves.read(self.run.metrics_file)

        def newest(name: str) -> float | None:
            return columns[name][-1, 1] if name in columns and len(columns[name]) else None

        numbers = [
            ("loss", _number(status.get("loss"), "z.4f")),
            ("eval_loss", _number(status.get("eval_loss"), "z.4f")),
            *((name, _number(newest(name), "z.3f")) for name in CHARTS["reward"] if name in columns),
            ("learning_rate", _number(status.get("learning_rate"), ".2e")),
            ("grad_norm", _number(newest("grad_norm"), ".3g")),
            ("tokens_per_second", _number(status.get("tokens_per_second"), ",.0f")),
            ("epoch", _number(status.get("epoch"), ".2f")),
            ("memory", self._memory()),
        ]
        cells = (
            f'<div class="tile"><span>{escape(self.page.t("metric." + name))}</span><b>{escape(text)}</b></div>'
            for name, text in numbers
            if text
        )
        return f'<div class="tiles" data-test="tiles">{"".join(cells)}</div>'

    def _memory(self) -> str:
        process = self.run.process()
        try:
            return size_text(process.memory_info().rss) if process else ""
        except psutil.Error:
            return ""

    def _answered(self) -> int | None:
        file = self.run.predictions_file
        if not file.is_file():
            return None
        with file.open("rb") as lines:
            return sum(1 for _ in lines)

    async def _show_log(self) -> None:
        file = self.run.log_file
        try:
            stat = file.stat()
        except OSError:
            return
        if (stat.st_size, stat.st_mtime) == self._log_seen:
            return
        self._log_seen = (stat.st_size, stat.st_mtime)
        text = await background.io_bound(_tail, file)
        self.log.set_content(escape(text))
        self.log.client.run_javascript(
            f"const e = getHtmlElement({self.log.id}); if (e && e.scrollHeight - e.scrollTop - e.clientHeight < 400) "
            "requestAnimationFrame(() => e.scrollTop = e.scrollHeight);"
        )

    async def _show_samples(self) -> None:
        """What the model wrote while it was trained, for stages that let it write."""
        if not self.run.samples_file.is_file():
            return
        rows = await background.io_bound(lambda: list(read_rows(self.run.samples_file))[-SAMPLES_SHOWN:])
        self.samples_tab.set_visibility(True)
        self._set(self.samples, "".join(_sample(self.page.t, row) for row in reversed(rows)))

    async def _redraw(self, _: Any = None) -> None:
        assert self.chart is not None
        self._offer()
        options = await background.io_bound(self._options)
        self.chart.options.clear()
        self.chart.options.update(options)
        self.chart.update()

    def _options(self) -> dict[str, Any]:
        t, curves, file = self.page.t, self.page.shared.curves, self.run.metrics_file
        which = self.which.value if self.which is not None else "loss"
        names = CHARTS.get(which, (which,))
        weight = SMOOTHING if getattr(self, "smoothing", None) is None or self.smoothing.value else 0.0
        plain = curves.thinned(file, names)
        smoothed = curves.thinned(file, names[:1], smoothing=weight) if weight else {}
        if which == "loss":
            lines = loss_lines(plain, smoothed, {name: t(f"metric.{name}") for name in names})
        else:
            shown = [name for name in names if name in plain]
            lines = [
                Line(name=self._called(name), points=plain[name], number=number, dots=number > 0)
                for number, name in enumerate(shown)
            ]
        y = t(f"axis.{which}") if which in CHARTS else which
        return line_chart(lines, dark=self.page.dark, x=t("axis.step"), y=y)

    def _called(self, metric: str) -> str:
        return self.page.t(f"metric.{metric}") if any(metric in names for names in CHARTS.values()) else metric

    def _offer(self) -> None:
        """Every number that this stage logs (rewards, KL ...) can be drawn."""
        assert self.which is not None
        columns = self.page.shared.curves.read(self.run.metrics_file)
        drawn = {name for names in CHARTS.values() for name in names}
        names = [name for name in CHARTS if name in columns or name == "loss"]
        names += [name for name in sorted(columns) if name not in drawn and name not in NOT_DRAWN]
        if names != list(self.which.options):
            self.which.set_options({name: self._called(name) for name in names}, value=self.which.value)

    @staticmethod
    def _set(element: ui.html, html: str) -> None:
        if element.content != html:
            element.set_content(html)

    # ---- buttons and ending ----

    def _show_buttons(self, state: str) -> None:
        if self.buttons is None:
            return
        t = self.page.t
        self.buttons.clear()
        with self.buttons:
            if state in ("running", "queued"):
                button(t("stop"), self._stop, drawing="stop").props('data-test="stop"')
                button(t("abort"), self._abort, drawing="close", kind="danger").props('data-test="abort"')
            elif state == "stopping":
                text_block(t("live.stopping"), "muted")
                button(t("abort"), self._abort, drawing="close", kind="danger")
            elif state in ("stopped", "failed", "died"):
                button(t("resume"), self._resume, drawing="play", kind="main").props('data-test="resume"')

    def _show_reading(self, state: str) -> None:
        self.reading.clear()
        if state in LIVE or not self.run.curve_reading.is_file():
            return
        with self.reading:
            text_block(self.page.t("live.reading"), tag="h3")
            for paragraph in reading_of(self.run.curve_reading.read_text(encoding="utf-8"), self.page.lang):
                text_block(paragraph, "note good")

    def _stop(self) -> None:
        jobs.stop(self.run)
        self.page.tell("live.asked_to_stop")
        self.timer.interval = FOLLOW_S

    async def _abort(self) -> None:
        if await confirm(self.page, self.page.t("abort.title"), self.page.t("abort.text"), self.page.t("abort"), danger=True):
            try:
                await background.io_bound(jobs.abort, self.run)
            except LuthierError as error:
                self.page.complain(error)

    async def _resume(self) -> None:
        try:
            await background.io_bound(jobs.resume, self.run)
        except LuthierError as error:
            self.page.complain(error)
        self.timer.interval = FOLLOW_S


def reading_of(markdown: str, lang: str) -> list[str]:
    """The paragraphs of reading.md in one language: under each heading English comes first, then Chinese."""
    found = []
    for section in markdown.split("\n## ")[1:]:
        paragraphs = [part.strip() for part in section.split("\n\n")[1:] if part.strip() and not part.startswith("|")]
        if paragraphs:
            found.append(paragraphs[1] if lang == "zh" and len(paragraphs) > 1 else paragraphs[0])
    return found


def _sample(t: Callable[..., str], row: dict[str, Any]) -> str:
    """One answer with its reward; every text is escaped."""
    reward = row.get("reward")
    says = t("live.sample", step=row.get("step", "–"), reward=f"{reward:.3g}" if isinstance(reward, int | float) else "–")
    parts = [
        f'<div class="small muted">{escape(says)}</div>',
        f'<div class="muted break">{escape(str(row.get("prompt", "")))}</div>',
    ]
    parts.append(f'<div class="said ours">{escape(str(row.get("completion", "")))}</div>')
    return f'<div class="drawn">{"".join(parts)}</div>'


def _times(t: Callable[..., str], status: dict[str, Any], step: int | None, total: int | None) -> list[str]:
    started = status.get("started_at")
    if not started:
        return []
    state = status.get("state")
    end = time.time() if state in ("running", "stopping") else status.get("finished_at") or status.get("updated_at") or started
    elapsed = max(0.0, end - started)
    words = [t("live.elapsed" if state in ("running", "stopping") else "live.took", time=duration(elapsed))]
    if state == "running" and step and total:
        words.append(t("live.left", time=duration(elapsed / step * (total - step))))
    return words


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "–" if value is None and form == "z.4f" else ""


def _tail(file: Any) -> str:
    with file.open("rb") as data:
        size = data.seek(0, 2)
        data.seek(max(0, size - LOG_BYTES))
        text = data.read().decode("utf-8", errors="replace")
    return text if size <= LOG_BYTES else text.partition("\n")[2]
