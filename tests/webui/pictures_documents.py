"""The pictures of the documents page, taken of a project of our own guides, in Chinese and in English.

    python -m tests.webui.pictures_documents [FOLDER [PLACE]]      as tests/webui/pictures.py, which calls this too

Enters: nothing.  Leaves: documents-<tab>-<lang>-<look>.png. Pictures that are there stay.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from luthier.webui.markdown import to_html
from tests.webui.conftest import CHROMIUM, FLAGS, ROOT, Board
from tests.webui.pictures import HEIGHT, WIDTH, make_board, open_page
from tests.webui.test_documents_page import new_project, upload

SIDES = ("top", "right", "bottom", "left")
PRINT = """<style>body {font: 11pt/1.5 sans-serif} code {font-size: 9pt} pre {background: #f4f2ec; padding: 8pt}
  table {border-collapse: collapse} td, th {border: 1px solid #999; padding: 3pt 6pt; text-align: left}</style>"""
PROJECTS = {"zh": "使用手册", "en": "handbook"}
TABS = {
    "sources": "[data-test=sources]",
    "text": "[data-test=picture]",
    "review": "[data-test=passage], [data-test=picture]",
    "coverage": "[data-test=cell]",
    "export": "[data-test=version]",
    "recipe": "[data-test=generator]",
}
"""Tab -> what has to be there; the recipe comes last, because it is changed."""


def take_documents(chromium: Any, board: Board, folder: Path) -> None:
    """Every tab in both languages and looks, and a phone."""
    for lang in ("zh", "en"):
        for look in ("light", "dark"):
            wanted = [name for name in TABS if not _file(folder, name, lang, look).is_file()]
            if wanted:
                make_project(chromium, board, lang)
                _take(open_page(chromium, board, lang, look), board, lang, look, folder, wanted)
    if not (folder / "documents-phone-zh-light.png").is_file():
        phone = open_page(chromium, board, "zh", "light", width=390, height=844)
        show_project(phone, board, "zh")
        show_tab(phone, "review")
        phone.locator("[data-test=review-status]").evaluate("status => status.scrollIntoView()")
        phone.screenshot(path=folder / "documents-phone-zh-light.png")


def make_project(chromium: Any, board: Board, lang: str) -> None:
    """Read, asked, exported. One of the guides is printed to a PDF file."""
    if (board.folder / "documents" / PROJECTS[lang] / "exports" / "v1").is_dir():
        return
    place = board.cache.parent / f"guides-{lang}"
    place.mkdir(exist_ok=True)
    tail = "_zh" if lang == "zh" else ""
    files = [shutil.copy(ROOT / "docs" / "guides" / f"{name}{tail}.md", place) for name in ("data", "board")]
    page = open_page(chromium, board, lang, "light")
    page.set_content(PRINT + to_html((ROOT / "docs" / "guides" / f"documents{tail}.md").read_text(encoding="utf-8")))
    page.pdf(path=place / "documents.pdf", format="A4", margin=dict.fromkeys(SIDES, "2cm"))
    new_project(page, board.url, PROJECTS[lang])
    upload(page, *map(Path, files), place / "documents.pdf")
    page.locator("[data-test=sources] .chip.good").nth(2).wait_for()
    page.click("[data-test=make]")
    page.click("[data-test=tab-export]")
    page.locator("[data-test=export-version]").click()
    page.locator("[data-test=version]").wait_for()
    page.context.close()


def show_project(page: Any, board: Board, lang: str) -> None:
    page.goto(f"{board.url}/documents?project=documents/{PROJECTS[lang]}")
    page.locator("[data-test=job] .chip").wait_for()


def show_tab(page: Any, name: str) -> None:
    """A tab with something of interest on it."""
    page.click(f"[data-test=tab-{name}]")
    if name == "text":
        page.click("[data-test=document]")
        page.locator(".q-menu .q-item", has_text="documents.pdf").click()
    page.locator(TABS[name]).first.wait_for()
    if name == "recipe":
        page.locator("[data-test=generator] button").nth(1).click()
        page.locator("[data-recipe='endpoint.base_url'] input").fill("http://127.0.0.1:8000/v1")
        page.locator("[data-recipe='endpoint.model'] input").fill("qwen3")
        page.locator(".fold").first.click()
    page.wait_for_timeout(2000)


def _file(folder: Path, name: str, lang: str, look: str) -> Path:
    return folder / f"documents-{name}-{lang}-{look}.png"


def _take(page: Any, board: Board, lang: str, look: str, folder: Path, wanted: list[str]) -> None:
    show_project(page, board, lang)
    for name in wanted:
        show_tab(page, name)
        page.mouse.move(WIDTH - 10, HEIGHT // 2)
        page.set_viewport_size({"width": WIDTH, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.wait_for_timeout(500)
        page.screenshot(path=_file(folder, name, lang, look))
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    if "recipe" in wanted:
        page.locator("[data-test=generator] button").first.click()
        page.wait_for_timeout(1000)
    page.context.close()


def main(folder: Path, place: Path) -> None:
    """Without the runs of the other pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        board = make_board(place)
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            take_documents(chromium, board, folder)
        finally:
            chromium.close()
            board.kill()


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    kept = given[1] if len(given) > 1 else Path(tempfile.mkdtemp(prefix="luthier-pictures-"))
    main(given[0] if given else ROOT / "docs" / "images", kept)
