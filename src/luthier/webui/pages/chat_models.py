"""Which models a chat talks to: the one of the bar or of a server, and a second one beside it.

Enters: a Page and what the chat keeps in the browser's storage.  Leaves: models loaded in the talker process.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.errors import ConfigError, LuthierError
from luthier.webui.models import trained
from luthier.webui.page import Page
from luthier.webui.parts import button, card, is_gone, text_block
from luthier.webui.paths import require_inside

LOADED = "loaded"
SERVER = "openai"
ADDRESS = "http://127.0.0.1:11434/v1"


class ChatModels:
    """kept: what the reader chose before; keep(key, value) stores a choice."""

    def __init__(self, page: Page, kept: dict[str, Any], keep: Callable[[str, Any], None]):
        self.page, self.kept, self._keep = page, kept, keep
        with card():
            self._engine_row()
            self._model_row()
            self._turn_engine(self.engine.value)
        self._show()

    @property
    def names(self) -> list[str]:
        """Of the models that are loaded now, in the order of their answers."""
        return self.page.shared.loaded if self.page.shared.talker.is_alive else []

    def is_ready(self) -> bool:
        """Says what to do where nothing is loaded."""
        if not self.names:
            self.page.complain(f"{self.page.t('chat.not_loaded')}. {self.page.t('chat.not_loaded.hint')}")
        return bool(self.names)

    def _engine_row(self) -> None:
        """Who computes: this machine, or a server by its address. Its key stays in the environment."""
        t = self.page.t
        with ui.element("div").classes("row-16"):
            words = {"": t("chat.engine.here"), SERVER: t("chat.engine.server")}
            self.engine = ui.select(words, value=self.kept.get("engine", ""), label=t("chat.engine"))
            self.engine.props('outlined dense stack-label options-dense data-test="engine"').style("min-width: 240px")
            self.engine.on_value_change(lambda event: self._turn_engine(event.value))
            with ui.element("div").classes("row-16 grow") as self.server:
                self.address = ui.input(t("chat.engine.url"), value=self.kept.get("url", ""), placeholder=ADDRESS)
                self.address.props('outlined dense stack-label data-test="engine-url"').classes("grow")
                self.address.on_value_change(lambda event: self._keep("url", event.value or ""))
                self.served = ui.input(t("chat.engine.model"), value=self.kept.get("served", ""))
                self.served.props(f'outlined dense stack-label placeholder="{escape(t("chat.engine.first"), quote=True)}"')
                self.served.on_value_change(lambda event: self._keep("served", event.value or ""))
        self.server_hint = text_block(t("chat.engine.hint"), "muted small")

    def _turn_engine(self, engine: str) -> None:
        self._keep("engine", engine)
        self.server.set_visibility(engine == SERVER)
        self.server_hint.set_visibility(engine == SERVER)
        base = self.page.t("chat.second.bar" if engine == SERVER else "chat.second.base")
        self.second.set_options({**self.second.options, "base": base}, value=self.second.value)

    def _model_row(self) -> None:
        t = self.page.t
        with ui.element("div").classes("row-16"):
            words = {"": t("chat.second.none"), "base": t("chat.second.base")}
            words |= {folder: f"{facts['name']} · {Path(folder).name}" for folder, facts in trained().items()}
            self.second = ui.select(words, value=self.kept.get("second", ""), label=t("chat.second"))
            self.second.props('outlined dense stack-label options-dense data-test="second"').style("min-width: 240px")
            self.second.on_value_change(lambda event: self._keep("second", event.value))
            self.load_button = button(t("chat.load"), self._load, drawing="play", kind="main").props('data-test="load"')
            self.unload_button = button(t("chat.unload"), self._unload)
            self.says = text_block("", "muted grow break").props('role="status" data-test="loaded"')

    def _models(self) -> list[dict[str, Any]]:
        chosen = self.page.model.settings()
        first = chosen
        if self.engine.value == SERVER:
            address, name = (self.address.value or "").strip(), (self.served.value or "").strip()
            if not address.startswith(("http://", "https://")):
                raise ConfigError(self.page.t("chat.engine.no_url"))
            first = {"infer_backend": "openai", "engine_url": address, **({"engine_model": name} if name else {})}
        second = self.second.value
        if not second:
            return [first]
        if second == "base" and self.engine.value == SERVER:
            return [first, chosen]
        if second == "base":
            return [first, {key: value for key, value in first.items() if key != "adapter_name_or_path"}]
        facts = trained().get(second, {})
        if facts.get("adapter"):
            base = facts["base"] or chosen["model_name_or_path"]
            return [first, {**chosen, "model_name_or_path": base, "adapter_name_or_path": [second]}]
        return [first, {"model_name_or_path": second}]

    async def _load(self) -> None:
        t = self.page.t
        self.load_button.disable()
        self.says.set_content(escape(t("chat.loading")))
        try:
            models = self._models()
            for settings in models:
                require_inside(settings, self.page.settings)
            answer = await self.page.shared.talker.call("load", models=models)
            self.page.shared.loaded = [_short(name) for name in answer["names"]]
            self._keep(LOADED, self.page.shared.loaded)
        except LuthierError as error:
            self.page.shared.loaded = []
            if not is_gone(self.says):
                self.page.complain(error)
        finally:
            if not is_gone(self.says):
                self.load_button.enable()
                self._show()

    async def _unload(self) -> None:
        self.page.shared.loaded = []
        await self.page.shared.talker.end()
        self._show()

    def _show(self) -> None:
        names = self.names
        self.says.set_content(
            escape(self.page.t("chat.loaded", name=" · ".join(names)) if names else self.page.t("chat.not_loaded"))
        )
        self.unload_button.set_enabled(bool(names))


def _short(name: str) -> str:
    return Path(name).name if "/" in name and Path(name).exists() else name
