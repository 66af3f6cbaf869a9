"""The frame of every page: navigation, the model bar, the load of the machine, language and look.

Enters: a Page.  Leaves: a place for its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from nicegui import ui

from luthier.webui.icons import icon, logo
from luthier.webui.modelbar import model_bar
from luthier.webui.page import Page
from luthier.webui.parts import button

LOAD_S = 3.0
HIGH = 85
GIB = 1 << 30


@contextmanager
def frame(page: Page) -> Iterator[None]:
    """Everything around the content of a page."""
    ui.add_head_html('<link rel="stylesheet" href="/static/board.css?v=9">')
    ui.html(f'<a class="skip" href="#main">{escape(page.t("skip"))}</a>', sanitize=False)
    with ui.element("div").classes("shell"):
        with ui.element("nav").classes("side").props(f'aria-label="{page.t("navigation")}"'):
            _navigation(page)
        with ui.element("div").classes("body"):
            with ui.element("header").classes("modelbar"):
                model_bar(page)
            with ui.element("div").classes("main").props('id="main" tabindex="-1"'):  # the page around it is <main>
                yield


def _navigation(page: Page) -> None:
    with ui.element("a").classes("brand").props('href="/" aria-label="Luthier"'):
        logo()
        ui.label("Luthier")
    with ui.element("div").classes("links"):
        for name, path in page.shared.pages.items():
            here = ' aria-current="page"' if name == page.name else ""
            with ui.element("a").classes("nav").props(f'href="{path}"{here}'):
                icon(name)
                ui.html(escape(page.t(f"nav.{name}")), sanitize=False, tag="span").classes("text")
    with ui.element("div").classes("foot"):
        load = ui.html("", sanitize=False).props(f'role="group" aria-label="{page.t("machine")}"')

        async def measure() -> None:
            load.set_content(await _load_text(page))

        ui.timer(LOAD_S, measure)
        with ui.element("div").classes("row-8 nowrap"):
            other = "en" if page.lang == "zh" else "zh"
            button(page.t("other_language"), on_click=lambda: _change(page, "lang", other), kind="plain", tiny=True).props(
                f'lang="{other}" data-test="language"'
            )
            look = "light" if page.dark else "dark"
            button(
                "", on_click=lambda: _change(page, "dark", not page.dark), drawing="sun" if page.dark else "moon", kind="icon"
            ).props(f'aria-label="{page.t("look." + look)}" data-test="look"')


async def _change(page: Page, key: str, value: object) -> None:
    page.store[key] = value
    await asyncio.sleep(0.05)  # the storage is written before the page is asked for again
    ui.navigate.reload()


async def _load_text(page: Page) -> str:
    load = await page.shared.machine.load()
    rows = [
        (page.t("machine.cpu", cores=load.cores), f"{load.busy:.0f} %", load.busy),
        (page.t("machine.memory"), _of(load.used, load.total), 100 * load.used / load.total),
    ]
    for number, card in enumerate(load.cards):
        share = 100 * card.used / max(1, card.total)
        rows.append((f"GPU {number}", f"{_of(card.used, card.total)} · {card.busy:.0f} %", share))
    return "".join(
        f'<div class="meter"><span>{escape(name)}</span><b>{escape(text)}</b>'
        f'<div class="bar{" high" if share > HIGH else ""}"><i style="width:{min(100, share):.0f}%"></i></div></div>'
        for name, text, share in rows
    )


def _of(used: int, total: int) -> str:
    """3.5 / 23.5 GB"""
    return f"{used / GIB:.1f} / {total / GIB:.1f} GB"
