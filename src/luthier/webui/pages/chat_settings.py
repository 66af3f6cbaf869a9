"""How a chat answers: system prompt, tools, sampling, thinking, and where its rows are kept.

Enters: a Page and what the chat keeps in the browser's storage.  Leaves: those choices, checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from luthier.errors import DataError
from luthier.webui.page import Page
from luthier.webui.parts import card, text_block

SAMPLING = {"max_new_tokens": 512, "temperature": 0.95, "top_p": 0.7, "top_k": 50, "repetition_penalty": 1.0}
STORED = "chat_feedback"


class ChatSettings:
    """kept: what the reader chose before; keep(key, value) stores a choice."""

    def __init__(self, page: Page, kept: dict[str, Any], keep: Callable[[str, Any], None]):
        self.page, self.kept, self._keep = page, kept, keep
        with card(page.t("chat.settings")):
            self._build()

    @property
    def system(self) -> str | None:
        return self._system.value or None

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Raises DataError, in the reader's language, where the field holds no list of functions."""
        try:
            return read_tools(self.kept.get("tools", ""))
        except DataError as error:
            raise DataError(self.page.t("chat.tools.wrong", why=error.message)) from None

    @property
    def store(self) -> str:
        """The name of the dataset that takes the rows."""
        return (self._store.value or STORED).strip()

    @property
    def sampling(self) -> dict[str, Any]:
        values = {key: made.value for key, made in self._sampling.items() if made.value is not None}
        values = {
            key: int(value) if float(value).is_integer() and isinstance(SAMPLING[key], int) else value
            for key, value in values.items()
        }
        return values | {"do_sample": bool(self.sample.value), "enable_thinking": self.thinking.value or "none"}

    def _build(self) -> None:
        t, page = self.page.t, self.page
        self._system = ui.textarea(t("chat.system"), value=self.kept.get("system", "")).props(
            "outlined dense autogrow stack-label"
        )
        self._system.classes("wide").on_value_change(lambda event: self._keep("system", event.value or ""))
        self._tools = ui.textarea(t("chat.tools"), value=self.kept.get("tools", "")).classes("wide")
        self._tools.props('outlined dense autogrow stack-label input-class="mono" debounce=400')
        self._tools_say = ui.html("", sanitize=False).classes("small red").props('role="alert"')
        self._tools.on_value_change(lambda event: self._check_tools(event.value or ""))
        with ui.element("div").classes("fields"):
            self._sampling = {}
            for key, start in SAMPLING.items():
                value = self.kept.get("sampling", {}).get(key, start)
                with ui.element("div").classes("field"):
                    text_block(page.label(key), "strong")
                    made = ui.number(value=value).props(f'outlined dense aria-label="{page.label(key)}"').classes("wide")
                    made.on_value_change(lambda _: self._keep_sampling())
                    self._sampling[key] = made
        self.sample = ui.switch(page.label("do_sample"), value=self.kept.get("do_sample", True))
        self.sample.props("dense").on_value_change(lambda event: self._keep("do_sample", bool(event.value)))
        with ui.element("div").classes("field"):
            text_block(page.label("enable_thinking"), "strong")
            words = {"": t("template.auto"), "true": t("yes"), "false": t("no")}
            self.thinking = ui.select(words, value=self.kept.get("thinking", "")).classes("wide")
            self.thinking.props(f'outlined dense options-dense aria-label="{page.label("enable_thinking")}"')
            self.thinking.on_value_change(lambda event: self._keep("thinking", event.value))
        with ui.element("div").classes("field"):
            text_block(t("chat.store"), "strong")
            self._store = ui.input(value=self.kept.get("store", STORED)).classes("wide")
            self._store.props(f'outlined dense aria-label="{t("chat.store")}" data-test="store"')
            self._store.on_value_change(lambda event: self._keep("store", event.value or STORED))
            text_block(t("chat.store.hint"), "hint")

    def _check_tools(self, text: str) -> None:
        self._keep("tools", text)
        try:
            read_tools(text)
            self._tools_say.set_content("")
        except DataError as error:
            self._tools_say.set_content(escape(self.page.t("chat.tools.wrong", why=error.message)))

    def _keep_sampling(self) -> None:
        self._keep("sampling", {key: made.value for key, made in self._sampling.items() if made.value is not None})


def read_tools(text: str) -> list[dict[str, Any]]:
    """The tools of a JSON text; none where it is empty. Raises DataError for anything else than a list of functions."""
    if not text.strip():
        return []
    try:
        tools = json.loads(text)
    except ValueError as error:
        raise DataError(str(error)) from None
    tools = [tools] if isinstance(tools, dict) else tools
    if not isinstance(tools, list) or not all(map(_is_function, tools)):
        raise DataError('[{"name": ..., "description": ..., "parameters": {...}}]')
    return tools


def _is_function(tool: Any) -> bool:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    return isinstance(function, dict) and bool(function.get("name"))
