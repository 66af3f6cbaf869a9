"""axe-core looks at every page, light and dark, in both languages: nothing serious, and of the lesser faults none either.

npm install --no-save axe-core        in the project's folder, once
"""

from __future__ import annotations

import pytest

from tests.webui.conftest import ROOT
from tests.webui.make_documents import write_manual, write_pdf
from tests.webui.test_browser import PAGES, many_runs
from tests.webui.test_documents_page import TABS, WORDS, new_project, tab, upload, wait_job

pytestmark = pytest.mark.slow
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
ASK = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(fault => ({"
ASK += "impact: fault.impact, id: fault.id, where: fault.nodes.map(node => node.html.slice(0, 160))})))"
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here: npm install --no-save axe-core")
FOREIGN = {"region"}
"""Quasar hangs its menus and notices at the end of the body, outside of every landmark."""


def look_for_faults(page, name: str) -> list[str]:
    page.wait_for_timeout(1500)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return [f"{name}: {fault}" for fault in page.evaluate(ASK) if fault["id"] not in FOREIGN]


def go_dark(page, board) -> None:
    page.goto(f"{board.url}/export")
    page.click("[data-test=look]")
    page.wait_for_function("document.body.classList.contains('body--dark')")


@needs_axe
@pytest.mark.parametrize(("lang", "dark"), [("zh", False), ("en", True)])
def test_no_page_has_a_fault_that_axe_finds(browser, board, monkeypatch, lang, dark):
    monkeypatch.setenv("XDG_CACHE_HOME", str(board.cache))
    monkeypatch.chdir(board.folder)
    many_runs(board, count=3, points=50)
    page = browser.page(lang)
    if dark:
        go_dark(page, board)
    found = []
    for name, path in {**PAGES, "documents": "/documents"}.items():
        page.goto(board.url + path)
        page.wait_for_selector("#main h1")
        if name == "runs":
            page.locator("[data-test=runs] tbody a").first.click()
            page.locator("[data-test=chart] canvas").first.wait_for()
        if name == "train":
            page.locator(".fold .q-item").first.click()
        found += look_for_faults(page, name)
    assert not found, "\n".join(found)
    assert browser.faults() == []


@needs_axe
@pytest.mark.parametrize(("lang", "dark"), [("zh", True), ("en", False)])
def test_no_part_of_a_documents_project_has_one(browser, board, tmp_path, lang, dark):
    words = WORDS[lang]
    page = browser.page(lang)
    if dark:
        go_dark(page, board)
    new_project(page, board.url, words["name"])
    upload(page, write_manual(tmp_path, lang), write_pdf(tmp_path / "service.pdf"))
    page.locator("[data-test=sources] .chip.good").nth(1).wait_for()
    page.click("[data-test=make]")
    page.locator("[data-test=job-tiles] .tile", has_text=words["rows"]).first.wait_for()
    wait_job(page, words["done"])
    found = []
    for name, ready in TABS.items():
        tab(page, name, ready)
        if name == "recipe":
            page.locator("[data-test=generator] button").nth(1).click()
            page.locator("[data-recipe='endpoint.base_url']").wait_for()
            for folded in page.locator(".fold").all():
                folded.click()
        found += look_for_faults(page, name)
    assert not found, "\n".join(found)
