"""Documents: from files to a dataset that can be trusted. The projects, and one project with its parts.

Enters: a Page; the project stands in the address.  Leaves: a project's folder, that the command line works on just as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import context, ui
from nicegui import run as background

from luthier.documents.project import Project
from luthier.errors import LuthierError
from luthier.runs import shown_path
from luthier.webui.documentdesk import Desk
from luthier.webui.documentjobs import BUSY, progress_of
from luthier.webui.documentviews import find_projects
from luthier.webui.page import Page
from luthier.webui.pages.documents_coverage import Coverage
from luthier.webui.pages.documents_export import Export
from luthier.webui.pages.documents_job import JobCard
from luthier.webui.pages.documents_recipe import RecipeForm
from luthier.webui.pages.documents_review import Review
from luthier.webui.pages.documents_sources import Sources
from luthier.webui.pages.documents_text import Text
from luthier.webui.parts import button, card, empty, text_block
from luthier.webui.paths import safe_name

FOLDER = "documents"
PATH = "/documents"
TAB = "documents.tab"
COUNTED = ("documents", "rows", "versions")
TABS: Mapping[str, type[Any]] = {
    "sources": Sources,
    "text": Text,
    "recipe": RecipeForm,
    "review": Review,
    "coverage": Coverage,
    "export": Export,
}


async def build(page: Page) -> None:
    """Draw the list of projects, or the project that the address names."""
    request = context.client.request
    named = request.query_params.get("project") if request else None
    if named:
        try:
            folder = page.settings.allow(named, page.t("docs.project"))
            await background.io_bound(lambda: Project.open(folder).close())
        except LuthierError as error:
            text_block(page.explain(error), "note bad")
        else:
            await OneProject(page, folder).draw()
            return
    await Projects(page).draw()


def address(folder: Path) -> str:
    """Where a project's page is."""
    return f"{PATH}?{urlencode({'project': shown_path(folder)})}"


class Projects:
    """What there is, and a new one."""

    def __init__(self, page: Page):
        self.page = page

    async def draw(self) -> None:
        t = self.page.t
        with ui.element("div").classes("pagehead"):
            text_block(t("nav.documents"), tag="h1")
            text_block(t("docs.intro"), tag="p")
        with card(t("docs.new"), t("docs.new.hint", folder=FOLDER)), ui.element("div").classes("row-8"):
            name = ui.input(placeholder=t("docs.new.example")).classes("grow")
            name.props(f'outlined dense aria-label="{t("docs.new.name")}" data-test="project-name"')
            button(t("docs.new.make"), lambda: self._make(name.value or ""), drawing="plus", kind="main").props(
                'data-test="new-project"'
            )
            name.on("keydown.enter", lambda: self._make(name.value or ""))
        found = await background.io_bound(self._look)
        if not found:
            empty(self.page, "docs.none", "docs.none.hint")
            return
        with ui.element("div").classes("scroll-x"), ui.element("table").classes("plain").props('data-test="projects"'):
            with ui.element("thead"), ui.element("tr"):
                for head in ("project", *COUNTED, "changed"):
                    text_block(t(f"docs.{head}"), "num" if head in COUNTED else "", "th").props("scope=col")
            with ui.element("tbody"):
                for one in found:
                    self._line(one)

    def _line(self, one: Mapping[str, Any]) -> None:
        t = self.page.t
        with ui.element("tr"):
            with ui.element("td"):
                link = f'<a class="strong" href="{escape(address(one["folder"]), quote=True)}">{escape(one["folder"].name)}</a>'
                busy = f' <span class="chip live">{escape(t("state.running"))}</span>' if one["busy"] else ""
                ui.html(link + busy, sanitize=False)
                text_block(shown_path(one["folder"]), "small muted break")
            for key in COUNTED:
                text_block(f"{one[key]:,}", "num", "td")
            text_block(time.strftime("%m-%d %H:%M", time.localtime(one["changed"])), tag="td")

    def _look(self) -> list[dict[str, Any]]:
        found = []
        for folder in find_projects(self.page.settings.folders):
            try:
                with Project.open(folder) as project:
                    now = progress_of(project)
            except LuthierError:
                continue
            found.append(
                {
                    "folder": folder,
                    "documents": sum(now["documents"].values()),
                    "rows": now["rows"],
                    "versions": now["exports"],
                    "busy": now["work"]["state"] in BUSY,
                    "changed": (folder / "project.db").stat().st_mtime,
                }
            )
        return found

    async def _make(self, name: str) -> None:
        try:
            folder = self.page.settings.allow(Path(FOLDER) / safe_name(name), self.page.t("docs.project"))
            await background.io_bound(lambda: Project.create(folder).close())
        except LuthierError as error:
            self.page.complain(error)
            return
        self.page.store[TAB] = "sources"
        ui.navigate.to(address(folder))


class OneProject:
    """Its name, what is at work on it, and its parts as tabs; a part is drawn when it is shown, and again when it changed."""

    def __init__(self, page: Page, folder: Path):
        self.page = page
        self.desk = Desk(page, folder)
        self.desk.show = self.show
        self.shown: Any = None
        self.where: dict[str, Any] = {}

    async def draw(self) -> None:
        t = self.page.t
        with ui.element("div").classes("pagehead"):
            text_block(self.desk.folder.name, tag="h1")
            ui.html(f'<a href="{PATH}">{escape(t("docs.all"))}</a>', sanitize=False)
            text_block(shown_path(self.desk.folder), "muted small break")
        with card():
            self.job = JobCard(self.desk, self.redraw)
        first = self.page.store.get(TAB)
        with ui.tabs(value=first if first in TABS else "sources").props(
            "dense align=left outside-arrows mobile-arrows"
        ) as self.tabs:
            for name in TABS:
                ui.tab(name, t(f"docs.tab.{name}")).props(f'data-test="tab-{name}"')
        self.place = ui.element("div").classes("col-24").props(f'role="tabpanel" aria-label="{escape(t("docs.part"))}"')
        self.tabs.on_value_change(self._chosen)
        await self.job.begin()
        await self._draw_tab(self.tabs.value)

    async def show(self, tab: str, **where: Any) -> None:
        """Go to a tab, at a place in it."""
        self.where = where
        if self.tabs.value == tab:
            await self._draw_tab(tab)
        else:
            self.tabs.value = tab

    async def redraw(self) -> None:
        """What is shown, after a job ended."""
        if isinstance(self.shown, RecipeForm):
            await self.shown.after_job()
        else:
            await self._draw_tab(self.tabs.value)

    async def _chosen(self, event: Any) -> None:
        self.page.store[TAB] = event.value
        await self._draw_tab(event.value)

    async def _draw_tab(self, name: str) -> None:
        where, self.where = self.where, {}
        self.shown = TABS[name](self.desk, **where)
        self.place.clear()
        with self.place:
            try:
                await self.shown.draw()
            except LuthierError as error:
                text_block(self.page.explain(error), "note bad")
