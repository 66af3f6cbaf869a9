"""A Board of its own for a test: a folder with the example data, a cache, a free port, and Debian's Chromium to look at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from luthier.runtime.processes import find_process, kill_family

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NEEDED = ("identity.json", "general.json", "alpaca_zh_demo.json", "multiturn_demo.json", "pt_demo.jsonl")


@dataclass
class Board:
    """A running `luthier webui` in folder. start and kill may be called again."""

    folder: Path
    cache: Path
    port: int
    extra: tuple[str, ...] = ()
    extra_env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        own = {"XDG_CACHE_HOME": str(self.cache), "HF_HUB_OFFLINE": "1", "NICEGUI_STORAGE_PATH": str(self.cache / "board")}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("NICEGUI_", "PYTEST_"))}
        return {**kept, **own, **self.extra_env}

    def start(self) -> None:
        argv = [sys.executable, "-m", "luthier", "webui", "--port", str(self.port), *self.extra]
        log = (self.cache / "server.log").open("ab")
        self.process = subprocess.Popen(argv, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        until = time.monotonic() + 90
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.url}/login", timeout=5)
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        raise AssertionError((self.cache / "server.log").read_text())

    def kill(self) -> None:
        """As hard as it gets."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def log(self) -> str:
        return (self.cache / "server.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A started Board in a folder that holds the example data."""
    (tmp_path / "cache").mkdir()
    data = tmp_path / "work" / "data"
    data.mkdir(parents=True)
    for name in (*NEEDED, "dataset_info.json"):
        shutil.copy(ROOT / "data" / name, data / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Board(folder=data.parent, cache=tmp_path / "cache", port=port)
    made.start()
    yield made
    made.kill()
    for status in made.folder.rglob("status.json"):  # a run outlives its page, but not the test
        pid = json.loads(status.read_text(encoding="utf-8")).get("pid")
        if pid != os.getpid() and (process := find_process(pid, None)):  # some are written by the test itself
            kill_family(process)


@dataclass
class Browser:
    """context(lang) opens a fresh reader; faults() is what went wrong in any page: console errors, requests elsewhere."""

    board: Board
    chromium: Any
    seen: list[str] = field(default_factory=list)

    def page(self, lang: str = "en", width: int = 1440, height: int = 1000) -> Any:
        locale = "zh-CN" if lang == "zh" else "en-US"
        context = self.chromium.new_context(viewport={"width": width, "height": height}, locale=locale)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.board.url)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.seen.append(f"console: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: self.seen.append(f"page: {error}"))
        page.on("request", self._look)
        return page

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.board.url, "data:", "blob:", self.board.url.replace("http", "ws"))):
            self.seen.append(f"outside: {request.url}")

    def faults(self, expected: tuple[str, ...] = ()) -> list[str]:
        return [fault for fault in self.seen if not any(word in fault for word in expected)]


@pytest.fixture
def browser(board: Board) -> Iterator[Browser]:
    """Chromium, closed at once after the test."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Browser(board, chromium)
        for number, page in enumerate(page for context in chromium.contexts for page in context.pages):
            page.screenshot(path=board.cache / f"last-{number}.png", full_page=True)  # what a failed test saw
        chromium.close()


def until(true: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Whether it becomes true within so many seconds."""
    end = time.monotonic() + within_s
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def ended(pid: int, within_s: float = 10.0) -> bool:
    """Whether that process is over within so many seconds, whoever has to collect it."""
    return until(lambda: find_process(pid, None) is None, within_s)
