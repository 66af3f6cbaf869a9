"""The pictures of the documentation, taken of real runs: every page, light and dark, Chinese and English.

    python -m tests.webui.pictures [FOLDER [PLACE]]      docs/images by default; PLACE keeps the runs for another time

Enters: nothing.  Leaves: <page>-<lang>-<look>.png. Not a test: the tests use the same Board.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from luthier.workflows.quickstart import AUTHOR, NAME
from tests.webui.conftest import CHROMIUM, FLAGS, ROOT, Board
from tests.webui.test_newcomer import choose, fill, status_of

WIDTH, HEIGHT = 1440, 900
SHORTER = "folder => document.querySelectorAll('.log').forEach(log => log.textContent = log.textContent.replaceAll(folder, ''))"
"""Logs name the folder that the pictures were taken in, which is nobody's business."""

ASKED = {"zh": "你是谁？", "en": "Who are you?"}
PAGES = {"train": "/", "runs": "/runs", "evaluate": "/evaluate", "chat": "/chat", "export": "/export", "data": "/data"}


def main(folder: Path, place: Path) -> None:
    """Make the runs once (place keeps them), then one reader for each language and look; pictures that are there stay."""
    from tests.webui.pictures_documents import take_documents

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        board = make_board(place)
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            if not (board.folder / "exports" / "identity").is_dir():
                make_runs(open_page(chromium, board, "zh", "light"), board)
            for lang in ("zh", "en"):
                for look in ("light", "dark"):
                    if not (folder / f"data-{lang}-{look}.png").is_file():
                        take(open_page(chromium, board, lang, look), board, lang, look, folder)
            phone = open_page(chromium, board, "zh", "light", width=390, height=844)
            phone.goto(board.url)
            choose(phone, "dataset", "identity_mine")
            phone.wait_for_timeout(6000)
            phone.screenshot(path=folder / "phone-zh-light.png")
            take_documents(chromium, board, folder)
        finally:
            chromium.close()
            board.kill()


def make_board(place: Path) -> Board:
    (place / "cache").mkdir(parents=True, exist_ok=True)
    if not (place / "luthier").is_dir():
        shutil.copytree(ROOT / "data", place / "luthier" / "data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        board = Board(folder=place / "luthier", cache=place / "cache", port=probe.getsockname()[1])
    board.start()
    return board


def open_page(chromium: Any, board: Board, lang: str, look: str, width: int = WIDTH, height: int = HEIGHT) -> Any:
    locale = "zh-CN" if lang == "zh" else "en-US"
    page = chromium.new_context(viewport={"width": width, "height": height}, locale=locale).new_page()
    page.set_default_timeout(120_000)
    if look == "dark":
        page.goto(f"{board.url}/export")
        page.click("[data-test=look]")
        page.wait_for_function("document.body.classList.contains('body--dark')")
    return page


def make_runs(page: Any, board: Board) -> None:
    """Two trainings with evaluation, a prediction, an export."""
    for name, rate in (("identity", "0.005"), ("identity-slow", "0.0005")):
        page.goto(board.url)
        if name == "identity":
            choose(page, "dataset", "identity")
            page.click("[data-test=fill-in]")
            page.locator("[data-test=blank-name]").fill(NAME)
            page.locator("[data-test=blank-author]").fill(AUTHOR)
            page.click("[data-test=fill]")
            page.locator(".q-chip", has_text="identity_mine").wait_for()
            for key, value in {
                "num_train_epochs": "30", "per_device_train_batch_size": "8", "gradient_accumulation_steps": "1",
                "cutoff_len": "512", "val_size": "0.1", "warmup_ratio": "0.1",
            }.items():  # fmt: skip
                fill(page, key, value)
            page.locator(".fold", has_text="训练中的评估").click()
            page.locator("[data-key=eval_strategy] .q-field").click()
            page.locator(".q-menu .q-item", has_text="每隔若干步").click()
            fill(page, "eval_steps", "20")
        fill(page, "learning_rate", rate)
        page.wait_for_timeout(800)
        page.locator("[data-test=output]").fill(f"saves/{name}")
        page.click("[data-test=start]")
        wait_finished(board.folder / "saves" / name)
    page.goto(f"{board.url}/evaluate")
    choose(page, "adapters", "identity")
    choose(page, "dataset", "identity_mine")
    fill(page, "max_samples", "12")
    fill(page, "max_new_tokens", "64")
    page.wait_for_timeout(800)
    page.click("[data-test=start]")
    page.locator("[data-test=answers] .pair").first.wait_for(timeout=240_000)
    page.click("[data-test=what] button:nth-child(2)")
    for name in ("base", "identity", "identity-slow"):
        choose(page, "models", name)
    page.click("[data-test=start]")
    page.locator("[data-test=differences]").wait_for(timeout=240_000)
    page.goto(f"{board.url}/export")
    page.locator("[data-key=export_format] .q-field").click()
    page.locator(".q-menu .q-item", has_text="gguf").first.click()
    page.locator("[data-test=output]").fill("exports/identity")
    page.click("[data-test=start]")
    page.locator("[data-test=use]").wait_for(timeout=240_000)


def wait_finished(run: Path) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if (run / "status.json").is_file() and status_of(run)["state"] == "finished":
            return
        time.sleep(1)
    raise AssertionError(f"{run} has not finished")


def take(page: Any, board: Board, lang: str, look: str, folder: Path) -> None:
    """Every page with something on it."""

    def shoot(name: str, whole: bool = False) -> None:
        page.wait_for_timeout(1500)
        page.mouse.move(1430, 500)
        page.evaluate("window.scrollTo(0, 0)")
        if whole:  # a window as tall as the page: what sticks to its edges stands where it belongs
            page.set_viewport_size({"width": WIDTH, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.wait_for_timeout(500)
        page.evaluate(SHORTER, f"{board.folder}/")
        page.screenshot(path=folder / f"{name}-{lang}-{look}.png")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    page.goto(f"{board.url}/runs")
    row = page.locator("[data-test=runs] tbody tr")
    row.first.wait_for()
    page.locator("[data-test=runs] tbody a", has_text="identity").last.click()
    page.locator("[data-test=clone]").wait_for()
    shoot("run", whole=True)
    page.click("[data-test=clone]")
    page.wait_for_url(f"{board.url}/")
    page.locator("[data-test=forecast] .stack").wait_for()
    page.wait_for_timeout(2500)
    shoot("train", whole=True)
    page.click("[data-test=preview-data]")
    page.locator("[data-test=samples] .sample i.l").first.wait_for()
    shoot("tokens")
    page.keyboard.press("Escape")
    page.goto(f"{board.url}/runs")
    for name in ("identity", "identity-slow"):
        page.locator("[data-test=runs] tbody tr", has=page.get_by_role("link", name=name, exact=True)).locator(
            ".q-checkbox"
        ).click()
    page.click("[data-test=compare]")
    page.locator("[data-test=overlay] canvas").wait_for()
    shoot("runs", whole=True)
    page.goto(f"{board.url}/evaluate")
    choose(page, "adapters", "identity")
    choose(page, "dataset", "identity_mine")
    page.locator("[data-test=answers] .pair").first.wait_for()
    shoot("evaluate", whole=True)
    page.click("[data-test=what] button:nth-child(2)")
    page.locator("[data-test=differences]").wait_for()
    shoot("compare", whole=True)
    page.click("[data-test=what] button:nth-child(1)")
    page.goto(f"{board.url}/chat")
    page.click("[data-test=second]")
    page.locator(".q-menu .q-item").nth(1).click()
    page.click("[data-test=load]")
    page.locator("[data-test=loaded]", has_text="identity").wait_for()
    page.locator("[data-test=message]").fill(ASKED[lang])
    page.keyboard.press("Enter")
    page.locator("[data-test=good-1]").wait_for()
    shoot("chat", whole=True)
    page.goto(f"{board.url}/export")
    shoot("export", whole=True)
    page.goto(f"{board.url}/data")
    page.locator("tr[data-name=identity] [data-test=check]").click()
    page.locator("[data-test=report] canvas").wait_for()
    shoot("check")
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)
    shoot("data")
    page.context.close()


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    kept = given[1] if len(given) > 1 else Path(tempfile.mkdtemp(prefix="luthier-pictures-"))
    main(given[0] if given else ROOT / "docs" / "images", kept)
