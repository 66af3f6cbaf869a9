"""In a real browser, what people do besides training: settings to a file and back, an older run deleted, tools, an answer
stopped, a question changed, an answer mended."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from luthier.config import Config
from luthier.runs import Run
from tests.webui.conftest import until
from tests.webui.test_desks import pick
from tests.webui.test_newcomer import choose, fill

pytestmark = pytest.mark.slow

WEATHER = {"name": "get_weather", "description": "Weather of a city", "parameters": {"type": "object", "properties": {}}}


def test_settings_go_to_a_file_and_come_back(browser, board, tmp_path):
    page = browser.page("en")
    page.goto(board.url)
    page.get_by_text(re.compile(r"CPU, \d+ cores")).first.wait_for()  # the machine's load is in sight
    page.get_by_text(re.compile(r"\d+\.\d .*G")).first.wait_for()
    choose(page, "dataset", "identity")
    fill(page, "learning_rate", "0.0007")
    page.get_by_role("button", name="More").first.click()
    pick(page, "quantization_bit", "4")
    page.locator("[data-key=rope_scaling]").wait_for()
    pick(page, "rope_scaling", "linear")
    page.wait_for_timeout(800)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save settings as a file").click()
    file = tmp_path / "settings.yaml"
    download.value.save_as(file)
    kept = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert kept["quantization_bit"] == 4 and kept["rope_scaling"] == "linear" and kept["learning_rate"] == 0.0007

    other = browser.page("zh")  # another reader, with an empty form
    other.goto(board.url)
    other.get_by_role("button", name="从文件载入设置").click()
    other.locator(".dialog input[type=file]").set_input_files({"name": "x.yaml", "mimeType": "text/plain", "buffer": b"- 1"})
    other.locator(".q-notification").first.wait_for()
    other.keyboard.press("Escape")
    other.get_by_role("button", name="从文件载入设置").click()
    other.locator(".dialog input[type=file]").set_input_files(file)
    other.locator(".dialog").wait_for(state="detached")
    assert other.locator("[data-key=learning_rate] input").first.input_value() == "0.0007"
    other.click("[data-test=show-command]")
    command = other.locator("[data-test=command]").inner_text()
    assert all(part in command for part in ("--quantization_bit 4", "--rope_scaling linear", "--dataset identity"))
    assert browser.faults() == []


def test_a_run_is_deleted_only_after_a_question(browser, board, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(board.cache))
    monkeypatch.chdir(board.folder)
    folder = board.folder / "saves" / "old"
    run = Run.create(Config(model_name_or_path="starter", output_dir=str(folder), dataset=["identity"]))
    run.start()
    run.append_metrics({"step": 1, "loss": 2.0})
    run.update_status(state="finished", step=1, total_steps=1)
    page = browser.page("en")
    page.goto(f"{board.url}/runs")
    page.get_by_role("link", name="old", exact=True).click()
    page.click("[data-test=delete]")
    page.locator(".dialog button", has_text="Cancel").click()
    page.locator(".dialog").wait_for(state="detached")
    assert folder.is_dir()
    page.click("[data-test=delete]")
    page.click("[data-test=confirm]")
    assert until(lambda: not folder.exists(), within_s=20)
    page.goto(f"{board.url}/runs")
    page.locator("#main h1").first.wait_for()
    assert page.get_by_role("link", name="old", exact=True).count() == 0
    assert browser.faults() == []


def test_a_chat_is_stopped_changed_and_mended(browser, board):
    page = browser.page("en")
    page.goto(f"{board.url}/chat")
    page.get_by_label("Tools (JSON)").fill('[{"title": "x"}]')
    page.locator(".small[role=alert]", has_text="not a JSON list of functions").wait_for()
    page.click("[data-test=load]")
    page.locator("[data-test=loaded]", has_text="starter").wait_for(timeout=120_000)
    box = page.locator("[data-test=message]")
    box.fill("Who are you?")
    page.keyboard.press("Enter")
    page.locator(".q-notification", has_text="not a JSON list of functions").wait_for()
    assert box.input_value() == "Who are you?" and page.locator(".turn").count() == 0, "the question is not lost"
    page.get_by_label("Tools (JSON)").fill(json.dumps([WEATHER]))
    page.locator(".small[role=alert]:empty").wait_for(state="attached")
    box.press("Enter")
    page.locator("[data-test=good-0]").wait_for(timeout=60_000)
    assert page.locator("[data-test=answer-0] .prose").inner_text().strip()

    page.get_by_label("Tools (JSON)").fill("")
    page.get_by_label("New tokens, at most").fill("2000")
    for label, value in (("Temperature", "100"), ("Top-p", "1"), ("Top-k", "0")):  # it will not find an end soon
        page.get_by_label(label, exact=True).fill(value)
    box.fill("Tell me a story.")
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.wait_for()
    page.locator(".answer .raw").last.wait_for()
    stop.click()
    stop.wait_for(state="hidden", timeout=20_000)
    assert page.locator(".turn").count() == 2

    page.get_by_role("button", name="Change the question").click()
    assert until(lambda: box.input_value() == "Tell me a story.") and page.locator(".turn").count() == 1
    box.fill("What is the capital of France?")
    page.get_by_label("Temperature", exact=True).fill("0.1")
    page.get_by_label("New tokens, at most").fill("40")
    box.press("Enter")
    page.locator(".turn").nth(1).locator("[data-test=bad-0]").click(timeout=60_000)
    page.locator("[data-test=mended]").fill("Paris, on the Seine.")
    page.click("[data-test=keep-mended]")
    pairs, rows = (board.folder / "data" / name for name in ("chat_feedback_pairs.jsonl", "chat_feedback.jsonl"))
    assert until(lambda: pairs.exists() and rows.exists(), within_s=20)
    pair = json.loads(pairs.read_text(encoding="utf-8"))
    assert pair["chosen"]["value"] == "Paris, on the Seine." != pair["rejected"]["value"]
    said = [turn["value"] for turn in json.loads(rows.read_text(encoding="utf-8"))["conversations"]]
    assert said[0] == "Who are you?" and said[2:] == ["What is the capital of France?", "Paris, on the Seine."]
    page.reload()
    page.locator(".turn").nth(1).wait_for()  # the conversation is kept
    assert browser.faults() == []
