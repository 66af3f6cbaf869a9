"""The whole path of a newcomer in a real browser, in Chinese and in English: data, forecast, training, stop, resume,
prediction, chat of base against tuned, export. No console error, no request that leaves the machine."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

WORDS = {
    "en": {"take": "use 0.005", "running": "running", "finished": "finished", "stopped": "stopped", "forecast": "Peak memory"},
    "zh": {"take": "采用 0.005", "running": "运行中", "finished": "已完成", "stopped": "已停止", "forecast": "峰值内存"},
}


def choose(page: Any, test: str, text: str) -> None:
    """Pick an option of a select that filters as one types."""
    page.click(f"[data-test={test}]")
    page.wait_for_timeout(200)  # what stands there is marked, so that typing replaces it
    page.keyboard.type(text)
    page.locator(".q-menu .q-item", has_text=re.compile(rf"^{re.escape(text)}( ·|$)")).first.click()
    page.keyboard.press("Escape")


def fill(page: Any, key: str, value: str) -> None:
    page.locator(f"[data-key={key}] input").first.fill(value)


def wait_state(page: Any, word: str, timeout_s: float = 240) -> None:
    page.locator("[data-test=live-head] .chip", has_text=word).first.wait_for(timeout=timeout_s * 1000)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_from_a_dataset_to_an_exported_model(browser, board, lang):
    words = WORDS[lang]
    page = browser.page(lang)
    page.goto(board.url)
    choose(page, "dataset", "identity")
    page.click("[data-test=fill-in]")  # its rows say {{name}} and {{author}}
    page.locator("[data-test=blank-name]").fill("Archer")
    page.locator("[data-test=blank-author]").fill("意琦行")
    page.click("[data-test=fill]")
    page.locator(".q-chip", has_text="identity_mine").wait_for()
    page.locator("[data-test=forecast]", has_text=words["forecast"]).wait_for(timeout=120_000)
    page.locator("[data-key=learning_rate] button", has_text=words["take"]).click()
    fill(page, "num_train_epochs", "50")
    fill(page, "per_device_train_batch_size", "8")
    fill(page, "gradient_accumulation_steps", "1")
    fill(page, "cutoff_len", "512")

    page.click("[data-test=preview-data]")
    page.locator("[data-test=samples] .sample i.l").first.wait_for(timeout=90_000)
    assert page.locator("[data-test=samples] .sample i.l").count() > 3
    page.keyboard.press("Escape")
    page.locator("[data-test=samples]").wait_for(state="detached")

    page.locator("[data-test=output]").fill("saves/first")
    page.click("[data-test=start]")
    wait_state(page, words["running"])
    run = board.folder / "saves" / "first"
    until = time.monotonic() + 120
    while time.monotonic() < until and len(rows_of(run)) < 2:
        time.sleep(0.5)
    assert len(rows_of(run)) >= 2
    page.locator("[data-test=chart] canvas").wait_for()

    page.reload()
    wait_state(page, words["running"])
    page.click("[data-test=stop]")
    wait_state(page, words["stopped"])
    stopped_at = status_of(run)["step"]
    assert 0 < stopped_at < status_of(run)["total_steps"]
    assert list((run / "checkpoints").glob("step-*"))

    page.click("[data-test=resume]")
    wait_state(page, words["finished"])
    status = status_of(run)
    assert status["step"] == status["total_steps"] > stopped_at
    page.locator("[data-test=reading] .note").first.wait_for()
    steps = [row["step"] for row in rows_of(run)]
    assert steps == sorted(set(steps)), "the curve goes on without a seam"

    page.goto(f"{board.url}/runs")
    page.locator("[data-test=runs] tbody tr", has_text="first").wait_for()

    page.goto(f"{board.url}/evaluate")
    choose(page, "adapters", "first")
    choose(page, "dataset", "identity_mine")
    fill(page, "max_samples", "8")
    fill(page, "max_new_tokens", "48")
    page.click("[data-test=start]")
    wait_state(page, words["finished"])
    page.locator("[data-test=scores] td", has_text="rouge-1").wait_for()
    assert page.locator("[data-test=answers] .pair").count() == 8

    page.goto(f"{board.url}/chat")
    page.click("[data-test=second]")
    page.locator(".q-menu .q-item").nth(1).click()
    page.click("[data-test=load]")
    page.locator("[data-test=loaded]", has_text="first").wait_for(timeout=120_000)
    page.locator("[data-test=message]").fill("你是谁？" if lang == "zh" else "Who are you?")
    page.keyboard.press("Enter")
    page.locator("[data-test=good-1]").wait_for(timeout=120_000)
    answers = [page.locator(f"[data-test=answer-{side}] .prose").inner_text() for side in (0, 1)]
    assert all(answers) and answers[0] != answers[1] and "Archer" in answers[0], answers
    page.click("[data-test=better-0]")
    page.click("[data-test=good-0]")
    page.locator(".q-notification", has_text="chat_feedback").first.wait_for()
    pairs, rows = (board.folder / "data" / name for name in ("chat_feedback_pairs.jsonl", "chat_feedback.jsonl"))
    until = time.monotonic() + 20
    while time.monotonic() < until and not (pairs.exists() and rows.exists()):
        time.sleep(0.2)
    assert json.loads(pairs.read_text().splitlines()[0])["chosen"]["value"].strip()
    info = json.loads((board.folder / "data" / "dataset_info.json").read_text())
    assert info["chat_feedback_pairs"]["ranking"] is True and "chat_feedback" in info

    page.goto(f"{board.url}/export")
    page.locator("[data-key=export_format] .q-field").click()
    page.locator(".q-menu .q-item", has_text="gguf").first.click()
    page.locator("[data-test=output]").fill("exports/first")
    page.click("[data-test=start]")
    wait_state(page, words["finished"])
    page.locator("[data-test=use]", has_text="llama-cli").wait_for()
    page.locator("[data-test=proof] .tile b", has_text="100.0 %").wait_for()
    found = list((board.folder / "exports" / "first").glob("*.gguf"))
    assert found and found[0].read_bytes()[:4] == b"GGUF"
    assert browser.faults() == []
    assert "Traceback" not in board.log(), board.log()


def rows_of(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.is_file() else []


def status_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())
