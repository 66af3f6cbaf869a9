"""In a real browser, what stands beside the path of a newcomer: the queue, TensorBoard, answers drawn while a model learns,
datasets split and mixed, an export in few bits."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from typing import Any

import pytest

from tests.webui.conftest import ROOT
from tests.webui.test_newcomer import choose, fill, rows_of, status_of, wait_state

pytestmark = pytest.mark.slow


def pick(page: Any, key: str, words: str) -> None:
    """An option of a field that is chosen from a short list."""
    page.locator(f"[data-key={key}] .q-field").first.click()
    page.locator(".q-menu .q-item", has_text=re.compile(rf"^{re.escape(words)}")).first.click()


def begin(page: Any, folder: str) -> None:
    page.locator("[data-test=output]").fill(folder)
    page.click("[data-test=start]")


def test_a_second_run_waits_for_the_first_and_tensorboard_shows_it(browser, board):
    page = browser.page("en")
    page.goto(board.url)
    choose(page, "dataset", "identity")
    fill(page, "num_train_epochs", "15")
    fill(page, "per_device_train_batch_size", "8")
    fill(page, "gradient_accumulation_steps", "1")
    begin(page, "saves/first")
    wait_state(page, "running")
    fill(page, "num_train_epochs", "1")
    begin(page, "saves/second")
    wait_state(page, "waiting")
    first, second = (board.folder / "saves" / name for name in ("first", "second"))
    assert status_of(first)["state"] == "running" and rows_of(second) == []
    page.click("[data-test=live] .q-tab:has-text('Log')")
    page.locator("[data-test=log]", has_text="Waiting until the runs before it are done.").wait_for()
    wait_state(page, "finished")
    assert status_of(first)["state"] == "finished" and rows_of(second)
    assert status_of(second)["started_at"] >= status_of(first)["finished_at"]

    page.goto(f"{board.url}/runs")
    page.get_by_role("link", name="first", exact=True).click()
    page.click("[data-test=tensorboard]")
    address = page.locator("[data-test=events]").get_attribute("href")
    found: list[str] = []
    until = time.monotonic() + 60
    while not found and time.monotonic() < until:
        with urllib.request.urlopen(f"{address}data/runs", timeout=30) as answer:
            found = json.load(answer)
        time.sleep(0.5)
    assert found, "TensorBoard finds the events of the run"
    other = page.context.new_page()
    other.goto(address)
    assert "TensorBoard" in other.title()
    other.close()
    assert browser.faults() == []
    board.process.terminate()
    board.process.wait(30)
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=5)


def test_answers_are_shown_while_a_model_learns_by_rewards(browser, board):
    shutil.copy(ROOT / "data" / "sums_demo.json", board.folder / "data")
    page = browser.page("en")
    page.goto(board.url)
    pick(page, "stage", "GRPO")
    choose(page, "dataset", "sums_demo")
    fill(page, "per_device_train_batch_size", "8")
    fill(page, "gradient_accumulation_steps", "1")
    page.locator(".fold", has_text="Other keys").click()
    keys = "reward_funcs: exact_answer\nnum_generations: 4\nmax_new_tokens: 16\nmax_steps: 40\nlogging_steps: 2"
    keys += "\nval_size: 8\neval_strategy: steps\neval_steps: 10"
    page.locator("textarea[aria-label='Other keys']").fill(keys)
    page.wait_for_timeout(800)
    begin(page, "saves/rewarded")
    wait_state(page, "running")
    run = board.folder / "saves" / "rewarded"
    page.click("[data-test=live] .q-tab:has-text('Answers')")
    shown = page.locator("[data-test=drawn] .drawn")
    shown.first.wait_for()
    assert status_of(run)["state"] == "running", "they are seen before the run is over"
    wait_state(page, "finished")
    drawn = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert len({row["step"] for row in drawn}) == 20, "40 steps, told every second one"
    last = drawn[-1]
    page.locator("[data-test=drawn]", has_text=f"step {last['step']}").wait_for()
    assert last["completion"].strip() in shown.first.inner_text() and shown.count() == min(len(drawn), 30)
    page.locator("[data-test=tiles] .tile", has_text="Eval reward").locator(
        "b", has_text=re.compile(r"^-?[01]\.\d{3}$")
    ).wait_for()
    page.click("[data-test=live] .q-tab:has-text('Curves')")
    page.locator("[data-test=which]").click()
    page.locator(".q-menu .q-item", has_text=re.compile("^Reward$")).click()
    page.locator("[data-test=chart] canvas").wait_for()
    page.wait_for_timeout(800)
    page.locator("[data-test=live]").screenshot(path=board.cache / "reward.png")
    assert browser.faults() == []


def test_a_dataset_is_split_and_two_are_mixed(browser, board):
    page = browser.page("en")
    page.goto(f"{board.url}/data")
    for _ in range(2):
        page.locator("tr[data-name=identity] [data-test=split]").click()
        page.locator(".dialog button", has_text="Split").click()
        page.locator(".q-notification", has_text=re.compile("identity_train.*(81|already)")).last.wait_for()
        if page.locator(".dialog").count():  # the second time: refused where one looks, nothing overwritten
            page.keyboard.press("Escape")
    files = [(board.folder / "data" / f"identity_{part}.jsonl").read_text().splitlines() for part in ("train", "test")]
    assert [len(lines) for lines in files] == [81, 9]
    page.locator("tr[data-name=identity_train] [data-test=check]").click()
    page.locator("[data-test=report] .tile").first.wait_for(timeout=90_000)
    assert "does not list" not in page.locator("[data-test=report]").inner_text()
    page.keyboard.press("Escape")
    page.locator(".dialog").wait_for(state="detached")

    page.click("[data-test=mix]")
    page.locator(".dialog button", has_text="Mix").click()
    page.locator(".q-notification", has_text="dataset").last.wait_for()
    page.locator(".dialog .q-select").click()
    for name in ("identity_test", "multiturn_demo"):
        page.locator(".q-menu .q-item", has_text=re.compile(f"^{name}$")).click()
    page.keyboard.press("Escape")
    page.get_by_label("At most, of each").fill("5")
    page.get_by_label("Name of the new one").fill("both")
    page.locator(".dialog button", has_text="Mix").click()
    page.locator("tr[data-name=both]").wait_for()
    assert len((board.folder / "data" / "both.jsonl").read_text().splitlines()) == 10
    page.locator("tr[data-name=both] [data-test=check]").click()
    page.locator("[data-test=report] .tile").first.wait_for(timeout=90_000)
    assert "does not list" not in page.locator("[data-test=report]").inner_text()
    assert browser.faults() == []


def test_an_export_in_four_bits(browser, board):
    page = browser.page("en")
    page.goto(f"{board.url}/export")
    page.locator(".fold", has_text="Quantisation").click()
    pick(page, "export_quantization_bit", "4")
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="texts to calibrate with").wait_for()
    assert not (board.folder / "exports").exists()
    fill(page, "export_quantization_dataset", "identity")
    fill(page, "export_quantization_nsamples", "8")
    fill(page, "export_quantization_maxlen", "128")
    page.wait_for_timeout(800)
    begin(page, "exports/small")
    wait_state(page, "finished")
    page.locator("[data-test=use]", has_text="vllm serve").wait_for()
    page.locator("[data-test=proof] .tile b").first.wait_for()
    made = json.loads((board.folder / "exports" / "small" / "config.json").read_text())["quantization_config"]
    assert (made["quant_method"], made["bits"]) == ("gptq", 4)
    assert browser.faults() == []
