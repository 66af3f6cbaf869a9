"""What every page has in common: its reader's language and look, the settings of the model bar, the processes beside the
server.

Enters: a route that was opened.  Leaves: the frame of shell.py with the page's own content in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from nicegui import app, context, ui

from luthier.errors import LuthierError
from luthier.webui.curves import Curves
from luthier.webui.form import Form
from luthier.webui.machine import Machine
from luthier.webui.settings import Settings
from luthier.webui.tensorboards import TensorBoards
from luthier.webui.words import LANGUAGES, choice, label, say, translate
from luthier.webui.workers import Worker

MODEL_START = {"model_name_or_path": "starter", "finetuning_type": "lora"}


@dataclass(slots=True, kw_only=True)
class Shared:
    """One a web process, for all its pages and readers. loaded: names of the models that the talker holds."""

    settings: Settings
    pages: dict[str, str]
    machine: Machine = field(default_factory=Machine)
    curves: Curves = field(default_factory=Curves)
    helper: Worker = field(default_factory=lambda: Worker("luthier.webui.helper"))
    talker: Worker = field(default_factory=lambda: Worker("luthier.webui.talker"))
    pictures: Worker = field(default_factory=lambda: Worker("luthier.webui.pagepictures"))

    loaded: list[str] = field(default_factory=list)
    tensorboards: TensorBoards = field(default_factory=TensorBoards)

    async def close(self) -> None:
        """End the processes beside this one. Runs are not among them."""
        self.tensorboards.close()
        await self.helper.end()
        await self.talker.end()
        await self.pictures.end()


class Page:
    """One opened page. model: the settings of the model bar.  store: what the browser keeps between visits."""

    def __init__(self, name: str, shared: Shared, store: MutableMapping[str, Any], lang: str):
        self.name = name
        self.client = context.client
        self.shared = shared
        self.settings = shared.settings
        self.store = store
        self.lang = lang
        self.dark = bool(store.get("dark", False))
        self.model = Form(store.setdefault("form.model", dict(MODEL_START)))

    def t(self, key: str, **values: Any) -> str:
        """Words of the page."""
        return say(self.lang, key, **values)

    def label(self, key: str) -> str:
        """What a configuration key is called."""
        return label(self.lang, key)

    def choice(self, key: str, value: Any) -> str:
        """What a value of a key is called."""
        return choice(self.lang, key, value)

    def form(self, name: str, start: dict[str, Any]) -> Form:
        """The settings of a page over those of the model bar. start: what stands in it the first time."""
        return Form(self.store.setdefault(f"form.{name}", dict(start)), self.model)

    def explain(self, error: Exception | str) -> str:
        """An error in the reader's language, with what to do."""
        if isinstance(error, LuthierError):
            parts = [translate(self.lang, error.message), translate(self.lang, error.remedy or "")]
            return "\n".join(part for part in parts if part)
        return translate(self.lang, str(error))

    def complain(self, error: Exception | str) -> None:
        """Say what went wrong, in view, even where the button that was pressed is gone by now."""
        with self.client:
            ui.notify(self.explain(error), type="negative", multi_line=True, timeout=12000, close_button="✕", position="top")

    def tell(self, key: str, **values: Any) -> None:
        """Say what was done, as complain does."""
        with self.client:
            ui.notify(self.t(key, **values), type="positive", position="top")


async def open_page(name: str, build: Callable[[Page], Awaitable[None]], shared: Shared) -> None:
    """Draw one page for the browser that asks."""
    from luthier.webui.shell import frame

    store = app.storage.user
    page = Page(name, shared, store, reader_language(store))
    client = context.client
    client.page.language = "zh-CN" if page.lang == "zh" else "en-US"
    ui.page_title(f"{page.t('nav.' + name)} · Luthier")
    ui.dark_mode(page.dark)
    ui.colors(primary="#84c5a8" if page.dark else "#1f5f4a", secondary="#e2a748" if page.dark else "#c8811a")
    with frame(page):
        await build(page)


def reader_language(store: MutableMapping[str, Any]) -> str:
    """What was chosen; else what the browser asks for; else Chinese."""
    if store.get("lang") in LANGUAGES:
        return store["lang"]
    request = context.client.request
    wanted = (request.headers.get("accept-language") or "") if request else ""
    first = wanted.split(",")[0].lower()
    return "en" if first.startswith("en") else "zh"
