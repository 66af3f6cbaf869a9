"""axe-core looks at every page, light and dark, in both languages: nothing serious, and of the lesser faults none either.

npm install --no-save axe-core        in the project's folder, once
"""

from __future__ import annotations

import pytest

from tests.webui.conftest import ROOT
from tests.webui.test_browser import PAGES, many_runs

pytestmark = pytest.mark.slow
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
ASK = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(fault => ({"
ASK += "impact: fault.impact, id: fault.id, where: fault.nodes.map(node => node.html.slice(0, 160))})))"
FOREIGN = {"region"}
"""Quasar hangs its menus and notices at the end of the body, outside of every landmark."""


@pytest.mark.parametrize(("lang", "dark"), [("zh", False), ("en", True)])
def test_no_page_has_a_fault_that_axe_finds(browser, board, monkeypatch, lang, dark):
    if not AXE.is_file():
        pytest.skip("axe-core is not here: npm install --no-save axe-core")
    monkeypatch.setenv("XDG_CACHE_HOME", str(board.cache))
    monkeypatch.chdir(board.folder)
    many_runs(board, count=3, points=50)
    page = browser.page(lang)
    if dark:
        page.goto(f"{board.url}/export")
        page.click("[data-test=look]")
        page.wait_for_function("document.body.classList.contains('body--dark')")
    found = []
    for name, path in {**PAGES, "documents": "/documents"}.items():
        page.goto(board.url + path)
        page.wait_for_selector("#main h1")
        if name == "runs":
            page.locator("[data-test=runs] tbody a").first.click()
            page.locator("[data-test=chart] canvas").first.wait_for()
        if name == "train":
            page.locator(".fold .q-item").first.click()
        page.wait_for_timeout(1500)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found += [f"{name}: {fault}" for fault in page.evaluate(ASK) if fault["id"] not in FOREIGN]
    assert not found, "\n".join(found)
    assert browser.faults() == []
