"""The documents page in a real browser: from files to "train on it" without a model, in Chinese and in English; and jobs of a
model that outlive the page. No console error, no request that leaves the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.documents.project import Project
from luthier.webui.documentjobs import BUSY, work_of
from tests.documents.fake_server import FakeServer, Fault
from tests.documents.test_jobs import book
from tests.webui.conftest import ended, until
from tests.webui.make_documents import write_manual, write_pdf

pytestmark = pytest.mark.slow

WORDS = {
    "en": {
        "name": "washer",
        "rows": "16",
        "manual": "manual.md",
        "done": "finished",
        "refused": "no reader takes",
        "wash": "How to start a wash",
        "third": "3 of",
        "second": "Page 1 of 2",
    },
    "zh": {
        "name": "洗衣机",
        "rows": "13",
        "manual": "说明书.md",
        "done": "已完成",
        "refused": "没有读取器支持",
        "wash": "如何开始洗涤",
        "third": "第 3",
        "second": "第 1 / 2 页",
    },
}
TABS = {
    "sources": "[data-test=sources]",
    "text": "[data-test=chunk]",
    "recipe": "[data-test=generator]",
    "review": "[data-test=question]",
    "coverage": "[data-test=cell]",
    "export": "[data-test=splits]",
}
"""Tab -> what is there when it is drawn."""


def new_project(page: Any, url: str, name: str) -> None:
    page.goto(f"{url}/documents")
    page.fill("[data-test=project-name]", name)
    page.click("[data-test=new-project]")
    page.locator("[data-test=documents]").wait_for()


def upload(page: Any, *files: Path) -> None:
    page.locator("[data-test=documents] input[type=file]").set_input_files(list(files))


def tab(page: Any, name: str, ready: str) -> None:
    page.click(f"[data-test=tab-{name}]")
    page.locator(ready).first.wait_for()


def wait_job(page: Any, words: str, timeout_s: float = 90) -> None:
    page.locator("[data-test=job]", has_text=words).wait_for(timeout=timeout_s * 1000)


def wait_other_question(page: Any, asked: str) -> None:
    other = "(asked) => (document.querySelector('[data-test=question]')?.innerText ?? asked) !== asked"
    page.wait_for_function(other, arg=asked)


def spans(folder: Path, document: str) -> list[tuple[int, int]]:
    with Project.open(folder) as project:
        sql = """SELECT start, end FROM chunk JOIN document ON document.id=chunk.doc WHERE document.name=? AND
                 chunk.state='current' ORDER BY start"""
        return [tuple(row) for row in project.store.all(sql, document)]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_from_files_to_train_on_it(browser, board, tmp_path, lang):
    words = WORDS[lang]
    folder = board.folder / "documents" / words["name"]
    page = browser.page(lang)
    new_project(page, board.url, words["name"])
    wrong = tmp_path / "setup.exe"
    wrong.write_bytes(b"MZ")
    upload(page, wrong)
    page.locator(".q-notification", has_text=words["refused"]).wait_for()
    upload(page, write_manual(tmp_path, lang), write_pdf(tmp_path / "service.pdf"))
    page.locator("[data-test=sources] .chip.good").nth(1).wait_for()

    tab(page, "text", "[data-test=chunk]")  # cut by hand, and join again: the very same spans
    page.click("[data-test=document]")
    page.locator(".q-menu .q-item", has_text=words["manual"]).click()
    page.locator("[data-test=prose] table").wait_for()
    text = (tmp_path / words["manual"]).read_text(encoding="utf-8")
    before = spans(folder, words["manual"])
    page.locator("[data-test=cut]").first.click()
    at = text.index(f"## {words['wash']}")
    page.locator(f"[data-test=cutter] button[data-at='{at}']").click()
    page.locator(f"[data-test=chunk][data-start='{at}']").wait_for()
    after = spans(folder, words["manual"])
    assert after == [(0, len(text[:at].rstrip())), (at, before[0][1]), *before[1:]]
    page.locator("[data-test=join]").first.click()
    page.locator(f"[data-test=chunk][data-start='{at}']").wait_for(state="detached")
    assert spans(folder, words["manual"]) == before

    page.click("[data-test=document]")
    page.locator(".q-menu .q-item", has_text="service.pdf").click()
    page.locator("[data-test=where]", has_text=words["second"]).wait_for()
    page.click("[data-test=next-window]")
    page.wait_for_function("document.querySelector('[data-test=picture][src*=\"page=2&\"]')?.naturalWidth > 800")

    page.click("[data-test=make]")
    page.locator("[data-test=job-tiles] .tile", has_text=words["rows"]).first.wait_for()
    wait_job(page, words["done"])
    tab(page, "review", "[data-test=question]")
    page.locator("[data-test=passage] mark, [data-test=picture]").first.wait_for()
    asked = page.locator("[data-test=question]").inner_text()
    page.keyboard.press("a")
    wait_other_question(page, asked)
    page.keyboard.press("e")
    page.locator("textarea[data-test=edit-answer]").fill("Edited <b>here</b>.")
    page.keyboard.press("Control+Enter")
    page.locator("[data-test=review-status]", has_text=words["third"]).wait_for()
    asked = page.locator("[data-test=question]").inner_text()
    page.keyboard.press("r")
    wait_other_question(page, asked)
    with Project.open(folder) as project:
        decided = dict(map(tuple, project.store.all("SELECT decision, count(*) FROM answer GROUP BY 1")))
        assert (decided["accepted"], decided["rejected"]) == (2, 1)
        assert project.store.value("SELECT count(*) FROM rejected WHERE origin='edit'") == 1
        good = "state='current' AND decision IS NOT 'rejected' AND dup_of IS NULL"  # "introduce it" and "what is it" may be one
        rows = project.store.value(f"SELECT count(*) FROM answer WHERE {good}")

    tab(page, "coverage", "[data-test=cell]")
    page.locator("[data-test=cell]").first.click()
    page.locator("[data-test=chunk]").first.wait_for()
    tab(page, "export", "[data-test=splits]")
    page.click("[data-test=leaks]")
    page.locator("[data-test=leaks-found] .note.good").wait_for()
    page.click("[data-test=export-version]")
    page.locator("[data-test=version]").wait_for()
    info = json.loads((board.folder / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    assert words["name"] in info
    provenance = (folder / "exports" / "v1" / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(provenance) == rows
    page.reload()  # the tab and the version are found again
    page.click("[data-test=train-on-it]")
    page.wait_for_url(f"{board.url}/")
    page.locator("[data-key=dataset] .q-chip", has_text=words["name"]).wait_for()
    page.locator("[data-test=forecast] .stack").wait_for(timeout=120_000)
    assert browser.faults() == []


def recipe(page: Any, key: str, value: str) -> None:
    page.locator(f"[data-recipe='{key}'] input").fill(value)


def test_a_job_of_a_model_outlives_the_page_and_its_numbers_are_true(browser, board, tmp_path, monkeypatch):
    key = "sk-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    board.kill()
    board.start()  # with the key in its environment
    fails = {"count": 0}

    def script(request: dict, again: int, number: int) -> Fault | None:
        if number % 17 == 3 and fails["count"] < 4:
            fails["count"] += 1
            return Fault(400, body=b'{"error": "no"}')
        return None

    source = tmp_path / "book.md"
    source.write_text(book(60))
    with FakeServer(script, delay_s=0.4) as server:
        page = browser.page("en")
        new_project(page, board.url, "book")
        folder = board.folder / "documents" / "book"
        upload(page, source)
        page.locator("[data-test=sources] .chip.good").wait_for()
        tab(page, "recipe", "[data-test=generator]")
        page.locator(".fold", has_text="Chunks, splits").click()
        recipe(page, "chunk.max_chars", "200")
        recipe(page, "chunk.min_chars", "0")
        page.locator("[data-test=generator] button", has_text="With a model").click()
        page.locator("[data-test=recipe-problem]", has_text="not both set").wait_for()
        recipe(page, "endpoint.base_url", server.url)
        recipe(page, "endpoint.model", "fake")
        page.locator("[data-test=recipe-problem]:empty, [data-test=recipe-problem] div:empty").first.wait_for(state="attached")
        recipe(page, "endpoint.price_in", "1")
        recipe(page, "ask.per_1000_chars", "1")
        recipe(page, "budget.pilot", "5")
        page.locator("[data-test=key]", has_text="A key is there").wait_for()
        page.click("[data-test=probe]")
        page.locator("[data-test=key] ~ * .note.good", has_text="fake").first.wait_for()
        page.locator(".fold", has_text="Prompts").first.click()
        page.locator("textarea[data-test=prompt]").fill("Ask {{count}} about {{txt}}")
        page.click("[data-test=save-prompt]")
        page.locator("[data-test=prompt-problem]", has_text="unknown slot {{txt}}").wait_for()

        page.click("[data-test=pilot]")
        page.locator("[data-test=estimate] tbody tr").nth(3).wait_for(timeout=60_000)
        assert "55" in page.locator("[data-test=estimate] tbody tr").first.inner_text()  # 60 chunks, 5 tried
        server.delay_s = 3.0
        page.click("[data-test=make]")
        page.locator("[data-test=job]", has_text="done").wait_for()
        page.locator("[role=progressbar]").wait_for()
        board.kill()  # the job goes on without a page, and without a web process
        before = server.total
        assert until(lambda: server.total > before)
        board.start()
        page.goto(f"{board.url}/documents?project=documents/book")
        page.locator("[data-test=job] .chip.live").wait_for()
        page.click("[data-test=pause]")
        wait_job(page, "paused")
        with Project.open(folder) as project:
            work = work_of(project)
            assert work["state"] == "paused" and ended(work["pid"])
        server.delay_s = 0.05
        page.click("[data-test=make]")  # go on
        page.locator("[data-test=retry]").wait_for(timeout=120_000)
        wait_job(page, "failed")
        page.click("[data-test=retry]")
        page.locator("[data-test=retry]").wait_for(state="detached")
        with Project.open(folder) as project:
            assert until(lambda: work_of(project)["state"] not in BUSY, within_s=120)
            assert work_of(project)["state"] == "finished"
            assert project.store.value("SELECT count(*) FROM unit WHERE state='failed'") == 0
            assert project.store.value("SELECT count(*) FROM unit WHERE stage='ask' AND state='done'") == 60
        assert fails["count"] == 4
        shown = page.content()
    assert key not in shown
    for file in (*folder.rglob("*"), *board.cache.rglob("*")):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file
    assert browser.faults(("WebSocket", "ERR_", "Failed to load")) == []


def test_documents_are_shown_not_run_and_the_page_fits_a_phone(browser, board, tmp_path):
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    source = tmp_path / "evil.md"
    odd = '# " onclick=x \\\n\nThe second pump is a pump that moves air.\n\n' * 40
    said = f"## How to start {attack}\n\n{attack} is a pump that moves water.\n\n**What is {attack}?**\n\n{attack}\n\n"
    source.write_text(f"# {attack}\n\n{said}{odd}")
    page = browser.page("zh", width=390, height=844)
    new_project(page, board.url, "evil")
    upload(page, source)
    page.locator("[data-test=sources] .chip.good").wait_for()
    page.click("[data-test=make]")
    wait_job(page, "生成问答")
    wait_job(page, "已完成")
    for name, ready in TABS.items():
        tab(page, name, ready)
        page.wait_for_timeout(500)
        assert "owned" not in page.title(), name
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the phone"
    page.goto(f"{board.url}/documents?project=/etc")
    page.locator(".note.bad").wait_for()
    assert browser.faults() == []
