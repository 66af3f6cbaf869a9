"""What must hold in a real browser beside the path of a newcomer: a killed web process, a phone, many runs, a token."""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path

import psutil
import pytest

from luthier.config import Config
from luthier.runs import Run
from tests.webui.conftest import ended, until
from tests.webui.test_newcomer import choose, fill, rows_of, status_of, wait_state

pytestmark = pytest.mark.slow
PAGES = {"train": "/", "runs": "/runs", "evaluate": "/evaluate", "chat": "/chat", "export": "/export", "data": "/data"}


def test_a_run_outlives_the_web_process_and_is_found_again(browser, board):
    page = browser.page("en")
    page.goto(board.url)
    choose(page, "dataset", "identity")
    fill(page, "num_train_epochs", "80")
    fill(page, "per_device_train_batch_size", "8")
    fill(page, "gradient_accumulation_steps", "1")
    page.locator("[data-test=output]").fill("saves/long")
    page.click("[data-test=start]")
    wait_state(page, "running")
    run = board.folder / "saves" / "long"
    board.kill()
    step = status_of(run).get("step") or 0
    assert until(lambda: (status_of(run).get("step") or 0) > step), "the run goes on while no page is there"
    board.start()
    page.goto(board.url)
    wait_state(page, "running")
    page.locator("[data-test=tiles] .tile", has_text="Loss").first.wait_for()
    other = browser.page("zh")  # a second browser sees the same truth
    other.goto(board.url)
    wait_state(other, "运行中")
    page.click("[data-test=abort]")
    page.click("[data-test=confirm]")
    wait_state(page, "stopped")
    wait_state(other, "已停止")
    assert ended(status_of(run)["pid"])
    assert browser.faults(("WebSocket", "ERR_", "Failed to load")) == []


def test_every_page_fits_a_phone_and_says_nothing_wrong(browser, board):
    page = browser.page("zh", width=390, height=844)
    for path in PAGES.values():
        page.goto(board.url + path)
        page.wait_for_selector("#main h1")
        page.wait_for_timeout(1200)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px wider than the phone"
    assert browser.faults() == []


def test_wrong_settings_are_said_at_the_field_and_start_nothing(browser, board):
    page = browser.page("zh")
    page.goto(board.url)
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="请先选择数据集").wait_for()
    choose(page, "dataset", "identity")
    fill(page, "learning_rate", "fast")
    page.locator("[data-key=learning_rate] .problem", has_text="不是数").wait_for()
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="不是数").wait_for()
    fill(page, "learning_rate", "0.001")
    page.locator("[data-test=output]").fill("/etc/luthier")
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="允许访问").wait_for()
    assert not (board.folder / "saves").exists()
    page.locator("[data-test=output]").fill("")
    choose(page, "model", "starter")
    page.locator("[data-test=model]").fill("./no-such-model")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.locator("[data-test=model-says]", has_text="未找到").wait_for()
    page.click("[data-test=start]")
    page.locator(".q-notification", has_text="找不到 ./no-such-model").wait_for()
    assert not (board.folder / "saves").exists()
    fill(page, "val_size", "0.1")
    page.click("[data-test=show-command]")
    command = page.locator("[data-test=command]").inner_text()
    assert "--val_size 0.1" in command and "--dataset identity" in command
    assert browser.faults() == []


def many_runs(board, count=50, points=10_000):
    random.seed(0)
    for number in range(count):
        folder = board.folder / "saves" / f"run-{number:02}"
        config = Config(
            model_name_or_path="starter", output_dir=str(folder), dataset=["identity"], learning_rate=1e-4 * (1 + number)
        )
        run = Run.create(config)
        run.start()
        lines = []
        for step in range(1, points + 1):
            loss = 3 / (1 + step / 500) + random.gauss(0, 0.05)
            row = {
                "step": step,
                "loss": loss,
                "learning_rate": 1e-4,
                "grad_norm": 1.0,
                "epoch": step / 100,
                "tokens_per_second": 3000.0,
            }
            lines.append(json.dumps(row | ({"eval_loss": loss + 0.1} if step % 500 == 0 else {})))
        run.metrics_file.write_text("\n".join(lines) + "\n")
        run.update_status(state="finished", step=points, total_steps=points, loss=1.0)


def test_fifty_runs_of_ten_thousand_points_open_at_once(browser, board, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(board.cache))
    monkeypatch.chdir(board.folder)
    page = browser.page("en")
    page.goto(f"{board.url}/export")  # an empty page, to compare with

    def opened(path, ready):
        times = []
        for _ in range(5):
            began = time.monotonic()
            page.goto(board.url + path)
            page.locator(ready).first.wait_for()
            times.append(time.monotonic() - began)
        return statistics.median(times)

    empty = opened("/export", "#main h1")
    many_runs(board)
    runs = opened("/runs", "[data-test=runs] tbody tr")
    charts = []
    for number in range(5):
        began = time.monotonic()
        page.locator("[data-test=runs] tbody tr", has_text="run-").nth(number).locator("a").click()
        page.locator("[data-test=chart] canvas").first.wait_for()
        charts.append(time.monotonic() - began)
        page.goto(f"{board.url}/runs")
        page.locator("[data-test=runs] tbody tr").first.wait_for()
    for row in range(3):
        page.locator("[data-test=runs] tbody .q-checkbox").nth(row).click()
    page.click("[data-test=compare]")
    page.locator("[data-test=overlay] canvas").wait_for()
    page.locator("[data-test=differences] td", has_text="learning_rate").wait_for()
    chart = statistics.median(charts)
    print(f"empty page {empty:.2f} s, 50 runs {runs:.2f} s ({runs / empty:.1f}x), chart {chart:.2f} s ({chart / empty:.1f}x)")
    assert runs < 2 * max(1.0, 2 * empty) and chart < max(1.0, 2 * empty)
    assert browser.faults() == []


def test_two_hundred_reloads_leave_the_memory_flat(browser, board):
    page = browser.page("en")

    def held():
        return psutil.Process(board.process.pid).memory_info().rss / 2**20

    for _ in range(40):
        page.goto(board.url, wait_until="domcontentloaded")
    time.sleep(8)
    before = held()
    for _ in range(160):
        page.goto(board.url, wait_until="domcontentloaded")
    time.sleep(10)
    after = held()
    print(f"{before:.0f} MiB after 40 loads, {after:.0f} MiB after 200")
    assert after < before * 1.15 + 10


def test_text_of_models_and_data_is_shown_not_run(browser, board):
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    rows = [{"instruction": attack, "input": "", "output": attack}] * 3
    (board.folder / "data" / "evil.json").write_text(json.dumps(rows))
    info = json.loads((board.folder / "data" / "dataset_info.json").read_text())
    info["evil"] = {"file_name": "evil.json"}
    info[attack] = {"file_name": "evil.json"}
    (board.folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    folder = board.folder / "saves" / "evil"
    folder.mkdir(parents=True)
    status = {
        "state": "finished",
        "kind": "predict",
        "name": attack,
        "dataset": [attack],
        "model_name_or_path": attack,
        "reason": attack,
    }
    (folder / "status.json").write_text(json.dumps(status | {"created_at": 1.0}))
    (folder / "log.txt").write_text(attack)
    (folder / "predict_results.json").write_text(json.dumps({attack: 1.0}))
    (folder / "generated_predictions.jsonl").write_text(
        json.dumps({"prompt": attack, "predict": attack, "label": attack}) + "\n"
    )
    page = browser.page("en")
    for path in PAGES.values():
        page.goto(board.url + path)
        page.wait_for_selector("#main h1")
        page.wait_for_timeout(800)
        assert "owned" not in page.title()
    page.goto(f"{board.url}/runs")
    page.locator("[data-test=runs] tbody tr a").first.click()
    page.locator("[data-test=log]", has_text="onerror").wait_for()
    page.goto(board.url)
    choose(page, "dataset", "evil")
    page.click("[data-test=preview-data]")
    page.locator("[data-test=samples]", has_text="onerror").wait_for(timeout=90_000)
    assert "owned" not in page.title()
    assert browser.faults() == []


def test_an_open_address_asks_for_the_token(browser, board):
    board.kill()
    board.extra = ("--host", "0.0.0.0", "--auth", "open sesame")
    board.start()
    page = browser.page("en")
    page.goto(board.url)
    assert page.url.endswith("/login")
    page.fill("input[name=token]", "wrong")
    page.click("button")
    page.locator("[role=alert]").wait_for()
    page.fill("input[name=token]", "open sesame")
    page.click("button")
    page.locator("#main h1", has_text="Train").wait_for()
    assert browser.faults(("401",)) == []


def test_a_dataset_is_uploaded_checked_edited_and_registered(browser, board, tmp_path: Path):
    page = browser.page("en")
    page.goto(f"{board.url}/data")
    page.click("[data-test=add]")
    wrong = tmp_path / "rows.exe"
    wrong.write_bytes(b"MZ")
    page.locator("[data-test=upload] input[type=file]").set_input_files(wrong)
    page.locator(".q-notification").first.wait_for()
    good = tmp_path / "sums.jsonl"
    good.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(40)))
    page.locator("[data-test=upload] input[type=file]").set_input_files(good)
    page.click("[data-test=register]")
    line = page.locator("tr[data-name=sums]")
    line.wait_for()
    line.locator("[data-test=check]").click()
    page.locator("[data-test=report] .tile").first.wait_for(timeout=90_000)
    page.keyboard.press("Escape")
    line.locator("[data-test=edit]").click()
    cell = page.locator("[data-test=grid] .ag-row[row-index='0'] [col-id=answer]")
    cell.dblclick()
    page.locator(".ag-text-area-input, .ag-large-text-input textarea").fill("one")
    page.keyboard.press("Enter")
    page.click("[data-test=save-rows]")
    page.locator(".q-notification", has_text="Saved: 40").wait_for()
    assert json.loads((board.folder / "data" / "sums.jsonl").read_text().splitlines()[0]) == {
        "question": "0 + 1?",
        "answer": "one",
    }
    assert browser.faults() == []
    assert rows_of(board.folder) == []
