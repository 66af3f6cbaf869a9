"""Which sections of the documents lead to rows, and which to none: a cell a section, the darker the more of it is quoted.

Enters: a Desk.  Leaves: the way to the section's text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from nicegui import ui

from luthier.documents.project import Project
from luthier.documents.steps.coverage import Part, coverage
from luthier.webui.documentdesk import Desk
from luthier.webui.documentviews import by_document, heat
from luthier.webui.parts import button, card, empty, text_block

MOST_CELLS = 800
MOST_NAMED = 12


class Coverage:
    """A map for each document."""

    def __init__(self, desk: Desk):
        self.desk, self.page = desk, desk.page

    async def draw(self) -> None:
        t = self.page.t
        parts = await self.desk.ask(coverage)
        if not parts:
            empty(self.page, "docs.no_text", "docs.no_text.hint")
            return
        self.first = await self.desk.ask(_places)
        without = [part for part in parts if not part.rows]
        chars = sum(part.chars for part in parts) or 1
        with card(t("docs.coverage"), t("docs.coverage.hint")):
            proved = sum(part.proved for part in parts) / chars
            tiles = [("docs.sections", f"{len(parts):,}"), ("docs.sections.none", f"{len(without):,}")]
            tiles += [("docs.quoted", f"{proved:.0%}"), ("docs.rows.good", f"{sum(part.rows for part in parts):,}")]
            cells = "".join(f'<div class="tile"><span>{escape(t(key))}</span><b>{text}</b></div>' for key, text in tiles)
            ui.html(f'<div class="tiles" data-test="coverage">{cells}</div>', sanitize=False)
            keys = "".join(
                f'<span><i class="heat heat-{level}"></i>{escape(t(f"docs.heat.{level}"))}</span>' for level in range(5)
            )
            ui.html(f'<div class="heatkey">{keys}</div>', sanitize=False)
            shown = 0
            for document, sections in by_document(parts).items():
                if shown < MOST_CELLS:
                    self._map(document, sections[: MOST_CELLS - shown])
                    shown += len(sections)
            if shown > MOST_CELLS:
                text_block(t("docs.more", count=len(parts) - MOST_CELLS), "muted small")
        if without:
            with card(t("docs.sections.none"), t("docs.sections.none.hint")), ui.element("div").classes("col-4"):
                for part in without[:MOST_NAMED]:
                    name = f"{part.document}: {part.section or t('docs.no_section')}"
                    text_block(f"{name} · {t('docs.characters', count=f'{part.chars:,}')}", "break")
                if len(without) > MOST_NAMED:
                    text_block(t("docs.more", count=len(without) - MOST_NAMED), "muted small")

    def _map(self, document: str, sections: Sequence[Part]) -> None:
        t = self.page.t
        with ui.element("div").classes("col-8"):
            text_block(document, "small strong break")
            with ui.element("div").classes("heatmap"):
                for part in sections:
                    name = part.section or t("docs.no_section")
                    share = f"{part.proved / max(1, part.chars):.0%}"
                    said = t("docs.cell", section=name, rows=part.rows, share=share)
                    made = button(f"{part.rows}", lambda part=part: self._open(part)).classes(f"heat heat-{heat(part)}")
                    made.props('data-test="cell"').props["aria-label"] = said
                    made.tooltip(said)

    async def _open(self, part: Part) -> None:
        document, at = self.first[part.document, part.section]
        await self.desk.go("text", document=document, at=at)


def _places(project: Project) -> dict[tuple[str, str], tuple[str, int]]:
    """(document, section) -> its id and where the section begins."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    sql = """SELECT document.id, document.name, chunk.path, chunk.start FROM chunk JOIN document ON document.id=chunk.doc
             WHERE chunk.state='current' AND document.state='parsed' ORDER BY document.name, chunk.start"""
    for row in project.store.each(sql):
        found.setdefault((row["name"], " > ".join(json.loads(row["path"])[:2])), (row["id"], row["start"]))
    return found
