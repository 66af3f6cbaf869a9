"""What the parts of the documents page share: the project, work on it beside the event loop, and word that something changed.

Enters: a Page and a project's folder.  Leaves: answers of functions that were given the open project.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from nicegui import run as background

from luthier.documents.project import Project
from luthier.webui.documentjobs import alone
from luthier.webui.page import Page

Answer = TypeVar("Answer")


class Desk:
    """folder: the project's. show: called with the name of a tab to go there."""

    def __init__(self, page: Page, folder: Path):
        self.page = page
        self.folder = folder
        self.show: Callable[..., Awaitable[None]] | None = None
        self.watch: Callable[[], Awaitable[None]] | None = None
        self._saving = asyncio.Lock()

    async def ask(self, question: Callable[[Project], Answer]) -> Answer:
        """The answer of a function that only looks, or that changes no more than a row."""
        return await background.io_bound(self._open, question)

    async def change(self, action: Callable[[Project], Answer]) -> Answer:
        """The same for one that needs the project for itself. Raises DataError where a job goes on having it."""
        return await background.io_bound(self._open, lambda project: _alone(project, action))

    async def save_recipe(self, text: str) -> None:
        """Write project.yaml, one text after another: the last one stays. Raises ConfigError as Project.save_recipe."""
        async with self._saving:
            await self.ask(lambda project: project.save_recipe(text))

    def _open(self, question: Callable[[Project], Answer]) -> Answer:
        with Project.open(self.folder) as project:
            return question(project)

    async def go(self, tab: str, **where: Any) -> None:
        """Show another tab."""
        if self.show is not None:
            await self.show(tab, **where)

    async def look_again(self) -> None:
        """Let the job card read the project now."""
        if self.watch is not None:
            await self.watch()


def _alone(project: Project, action: Callable[[Project], Answer]) -> Answer:
    with alone(project):
        return action(project)
