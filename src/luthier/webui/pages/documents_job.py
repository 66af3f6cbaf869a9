"""What is at work on a project: how far it is, what it costs, what it waits for; buttons that start, pause, go on, try again.

Enters: a Desk.  Leaves: processes of their own (documentjobs.py). Reads the truth every two seconds and keeps none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.errors import LuthierError
from luthier.runtime.progress import duration
from luthier.webui import documentjobs
from luthier.webui.documentdesk import Desk
from luthier.webui.documentjobs import BUSY, progress_of
from luthier.webui.parts import STATE_LOOKS, button, is_gone, text_block
from luthier.webui.words import translate

EACH_S = 2.0
STAGES = ("clean", "ask", "answer", "weaker", "judge")
LOOKS = STATE_LOOKS | {"starting": "live", "pausing": "warn", "paused": "warn", "none": ""}


class JobCard:
    """redraw: called when a job has ended, for what else the page shows."""

    def __init__(self, desk: Desk, redraw: Callable[[], Awaitable[None]]):
        self.desk, self.page, self.redraw = desk, desk.page, redraw
        self.now: dict[str, Any] = {}
        desk.watch = self.look
        self.tiles = ui.html("", sanitize=False).props('data-test="job-tiles"')
        with ui.element("div").classes("row-16 apart docs-job"):
            self.line = ui.html("", sanitize=False).classes("grow").props('role="status" data-test="job"')
            self.buttons = ui.element("div").classes("row-8")

    async def begin(self) -> None:
        await self.look()
        ui.timer(EACH_S, self.look)

    async def look(self) -> None:
        """Read the project, and show what changed."""
        try:
            now = await self.desk.ask(progress_of)
        except LuthierError as error:
            if not is_gone(self.line):
                self.line.set_content(f'<div class="note bad">{escape(self.page.explain(error))}</div>')
            return
        if is_gone(self.tiles):
            return
        if now != self.now or now.get("work", {}).get("state") in BUSY:
            before, self.now = self.now, now
            self._draw(before)
            if before and before["work"]["state"] in BUSY and now["work"]["state"] not in BUSY:
                await self.redraw()

    # ---- what is said ----

    def _draw(self, before: Mapping[str, Any]) -> None:
        self.tiles.set_content(self._tiles())
        self.line.set_content(self._line())
        if _kind(before) != _kind(self.now):
            self.buttons.clear()
            with self.buttons:
                self._draw_buttons()

    def _tiles(self) -> str:
        t, now = self.page.t, self.now
        failed = now["documents"].get("failed", 0)
        documents = f"{sum(now['documents'].values()):,}" + (f" · {t('docs.failed', count=failed)}" if failed else "")
        tiles = [("docs.documents", documents), ("docs.chunks", f"{now['chunks']:,}"), ("docs.rows", f"{now['rows']:,}")]
        tiles += [("docs.open", f"{now['open']:,}"), ("docs.versions", f"{now['exports']:,}")]
        spent = now["spent"].values()
        if now["generator"] == "model" or spent:
            tokens = sum(one["tokens_in"] + one["tokens_out"] for one in spent)
            money = sum(one["money"] for one in spent)
            tiles += [("docs.tokens", f"{tokens:,.0f}")] + ([("docs.money", f"{money:,.3f}")] if money else [])
        cells = "".join(f'<div class="tile"><span>{escape(t(key))}</span><b>{escape(text)}</b></div>' for key, text in tiles)
        return f'<div class="tiles">{cells}</div>'

    def _line(self) -> str:
        t, work = self.page.t, self.now["work"]
        state, failed = work["state"], self.failed
        if state == "none":
            return f'<p class="muted">{escape(t("docs.job.none"))}</p>'
        words = t(f"state.{state}") + (f", {t('docs.failed', count=failed)}" if failed and state == "finished" else "")
        parts = [f'<span class="chip {LOOKS[state]}">{escape(words)}</span>', f"<span>{escape(self._what())}</span>"]
        html = f'<div class="row-8">{"".join(parts)}</div>'
        if state in BUSY:
            html += self._bar()
        message = "\n".join(translate(self.page.lang, part) for part in (work["message"], work["remedy"]) if part)
        if message:
            html += f'<div class="note{" bad" if state == "failed" else ""}">{escape(message)}</div>'
        elif state == "died":
            html += f'<div class="note">{escape(t("docs.job.died"))}</div>'
        return f'<div class="col-8">{html}</div>'

    def _what(self) -> str:
        t, work = self.page.t, self.now["work"]
        said = t(f"docs.verb.{work['verb']}")
        if work["state"] in BUSY:
            if work.get("stage") == "parse":
                return f"{said}: {work['name']} ({work['done'] + 1:,} / {work['total']:,})"
            if (job := self._running()) is not None:
                left = t("docs.job.units", done=f"{job['done']:,}", total=f"{_total(job):,}")
                more = f", {t('docs.failed', count=job['failed'])}" if job["failed"] else ""
                return f"{said}: {t('docs.stage.' + job['stage'])} · {left}{more}"
            return said
        return f"{said} · {_ago(work)}"

    def _bar(self) -> str:
        work, job = self.now["work"], self._running()
        share = 0.0
        if job is not None and _total(job):
            share = (job["done"] + job["failed"]) / _total(job)
        elif work.get("total"):
            share = work["done"] / work["total"]
        value = f'role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * share:.0f}"'
        label = escape(self.page.t("docs.job.progress"))
        return f'<div class="progress" {value} aria-label="{label}"><i style="width:{100 * share:.1f}%"></i></div>'

    def _running(self) -> dict[str, Any] | None:
        return next((job for job in self.now["jobs"] if job["state"] == "running"), None)

    @property
    def failed(self) -> int:
        """Units of the last job of each stage that failed."""
        return sum(job["failed"] for job in self.now["jobs"]) if self.now["generator"] == "model" else 0

    # ---- what can be done ----

    def _draw_buttons(self) -> None:
        t, now = self.page.t, self.now
        state, verb = now["work"]["state"], now["work"]["verb"]
        if state in BUSY:
            made = button(t("docs.pause"), self._pause, drawing="clock").props('data-test="pause"')
            if state == "pausing":
                made.disable()
            text_block(t("docs.job.free"), "muted small")
            return
        resumes = state in ("paused", "died") and verb in ("rows", "read", "pilot")
        words = t("docs.resume") if resumes else t("docs.make_again") if now["rows"] else t("docs.make")
        kind = "plain" if now["rows"] and state == "finished" else "main"
        go = button(words, lambda: self._start(verb if resumes else "rows"), drawing="play", kind=kind)
        go.props('data-test="make"')
        if not now["documents"]:
            go.disable()
            text_block(t("docs.make.first"), "muted small")
        if self.failed:
            button(t("docs.retry", count=self.failed), lambda: self._start("rows", retry_failed=True), drawing="refresh").props(
                'data-test="retry"'
            )
        if now["rows"]:
            button(t("docs.to_review"), lambda: self.desk.go("review"), drawing="check", kind="quiet")

    async def _start(self, verb: str, **options: Any) -> None:
        try:
            await background.io_bound(lambda: documentjobs.start(self.desk.folder, verb, **options))
        except LuthierError as error:
            self.page.complain(error)
        await self.look()

    async def _pause(self) -> None:
        await background.io_bound(lambda: documentjobs.pause(self.desk.folder))
        await self.look()


def _kind(now: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides which buttons there are."""
    if not now:
        return ()
    failed = sum(job["failed"] for job in now["jobs"])
    return now["work"]["state"], now["work"]["verb"], bool(now["rows"]), bool(now["documents"]), failed, now["generator"]


def _total(job: Mapping[str, Any]) -> int:
    return job["done"] + job["failed"] + job["queued"]


def _ago(work: Mapping[str, Any]) -> str:
    """When it ended and how long it took."""
    ended = work.get("ended")
    if not ended:
        return ""
    return f"{time.strftime('%m-%d %H:%M', time.localtime(ended))} · {duration(ended - work['began'])}"
