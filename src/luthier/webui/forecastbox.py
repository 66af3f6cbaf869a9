"""The box that says, before anything starts, what a training will take: memory by part, time, whether it fits, what to change.

Enters: settings that changed.  Leaves: the answer of the helper process, drawn; the newest settings win over older questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import background_tasks, ui

from luthier.errors import LuthierError
from luthier.runtime.files import size_text
from luthier.runtime.progress import duration
from luthier.webui.charts import DARK, LIGHT
from luthier.webui.page import Page
from luthier.webui.parts import is_gone
from luthier.webui.words import locale, translate

QUIET_S = 0.6
"""Typing is over when nothing has changed for so long."""


class ForecastBox:
    """on_answer: called with every answer, for advice beside the fields."""

    def __init__(self, page: Page, on_answer: Callable[[Mapping[str, Any]], None]):
        self.page, self.on_answer = page, on_answer
        self.answer: Mapping[str, Any] = {}
        self._number = 0
        self.box = ui.html("", sanitize=False).classes("wide").props('role="status" data-test="forecast"')

    def ask(self, settings: Mapping[str, Any], problems: Mapping[str, str]) -> None:
        """Forecast these settings, a moment from now."""
        self._number += 1
        background_tasks.create(self._ask(self._number, dict(settings), dict(problems)))

    async def _ask(self, number: int, settings: dict[str, Any], problems: dict[str, str]) -> None:
        await asyncio.sleep(QUIET_S)
        if number != self._number or is_gone(self.box):
            return
        if problems:
            self._show(f'<p class="muted">{escape(self.page.t("forecast.mend"))}</p>')
            return
        if not settings.get("dataset"):
            self._show(f'<p class="muted">{escape(self.page.t("forecast.no_data"))}</p>')
        else:
            self._show(f'<p class="muted">{escape(self.page.t("forecast.working"))}</p>')
        try:
            answer = await self.page.shared.helper.call("forecast", settings=settings)
        except LuthierError as error:
            if number == self._number:
                self._show(f'<div class="note bad">{escape(self.page.explain(error))}</div>')
            return
        if number == self._number and not is_gone(self.box):
            self.answer = answer
            self._show(self._words(answer))
            self.on_answer(answer)

    def _show(self, html: str) -> None:
        if not is_gone(self.box):
            self.box.set_content(html)

    def _words(self, answer: Mapping[str, Any]) -> str:
        t = self.page.t
        fits = {True: ("good", "forecast.fits"), False: ("bad", "forecast.too_large"), None: ("", "forecast.unknown")}
        look, key = fits[answer["fits"]]
        parts = [f'<div class="row-8"><span class="chip {look}">{escape(t(key))}</span>']
        parts.append(f'<span class="muted small">{escape(str(answer["device"]))}</span></div>')
        parts.append(self._tiles(answer))
        parts.append(self._memory(answer))
        data = answer.get("data")
        if data:
            count = f"{data['samples']:,}" if data["counted"] else t("forecast.at_least", count=f"{data['samples']:,}")
            parts.append(
                f'<p class="small muted">{escape(t("forecast.data", count=count, mean=data["mean"], p99=data["p99"], longest=data["longest"]))}</p>'  # noqa: E501
            )
        notes = [answer["note"]] if answer["note"] else []
        notes += answer.get("notes", [])
        if data and data["over"] > 0:
            notes.append(t("forecast.cut", share=f"{100 * data['over']:.1f}"))
        if data and data["skipped"]:
            notes.append(t("forecast.skipped", count=f"{data['skipped']:,}"))
        if answer["fits"] is False:
            notes.append(t("forecast.remedies"))
        parts += [f'<div class="note">{escape(translate(self.page.lang, note))}</div>' for note in notes]
        return f'<div class="col-8">{"".join(parts)}</div>'

    def _tiles(self, answer: Mapping[str, Any]) -> str:
        t = self.page.t
        tiles = [("forecast.peak", size_text(answer["peak"])), ("forecast.free", size_text(answer["free"]))]
        if answer.get("steps"):
            tiles.append(("forecast.steps", f"{answer['steps']:,}"))
            if answer["step_s"]:
                tiles.append(("forecast.time", t("forecast.about", time=duration(answer["step_s"] * answer["steps"]))))
        elif answer["step_s"]:
            tiles.append(("forecast.step", f"{answer['step_s']:.2g} s"))
        cells = (f'<div class="tile"><span>{escape(t(key))}</span><b>{escape(text)}</b></div>' for key, text in tiles)
        return f'<div class="tiles">{"".join(cells)}</div>'

    def _memory(self, answer: Mapping[str, Any]) -> str:
        """A bar as wide as the memory there is, the parts in it."""
        colours = (DARK if self.page.dark else LIGHT).lines
        parts = [(name, size) for name, size in answer["memory"].items() if size]
        whole = max(answer["free"], answer["peak"], 1)
        bar = "".join(
            f'<i style="width:{100 * size / whole:.2f}%;background:{colours[at % len(colours)]}"></i>'
            for at, (_, size) in enumerate(parts)
        )
        legend = "".join(
            f'<span><i style="background:{colours[at % len(colours)]}"></i>{escape(self._part(name))}'
            f"<b>{size_text(size)}</b></span>"
            for at, (name, size) in enumerate(parts)
        )
        label = escape(self.page.t("forecast.memory"))
        return f'<div class="stack" role="img" aria-label="{label}">{bar}</div><div class="legend">{legend}</div>'

    def _part(self, name: str) -> str:
        return self.page.t(f"part.{name}") if f"part.{name}" in locale(self.page.lang) else name
