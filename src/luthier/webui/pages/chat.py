"""Chat: talk to a model, or to two at once; answers that are good, bad or mended become training rows.

Enters: a Page.  Leaves: a conversation in the browser's storage, rows in the data folder. The models live in the talker
process.
"""

from __future__ import annotations

import asyncio
import json
import time
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.errors import ConfigError, DataError, LuthierError
from luthier.webui.feedback import conversation_of, message_of, store_good, store_pair
from luthier.webui.markdown import to_html
from luthier.webui.models import trained
from luthier.webui.page import Page
from luthier.webui.parts import button, card, dialog, empty, icon_button, is_gone, text_block
from luthier.webui.paths import require_inside

DRAW_S = 0.12
SAMPLING = {"max_new_tokens": 512, "temperature": 0.95, "top_p": 0.7, "top_k": 50, "repetition_penalty": 1.0}
STORED = "chat_feedback"
LOADED = "chat.loaded"
SERVER = "openai"
ADDRESS = "http://127.0.0.1:11434/v1"


async def build(page: Page) -> None:
    """Draw the page."""
    ChatPage(page)


class ChatPage:
    """turns: [{"role", "content", "answers": [message of each side]}], kept in the browser's storage."""

    def __init__(self, page: Page):
        self.page = page
        self.kept = page.store.setdefault("chat", {})
        self.turns: list[dict[str, Any]] = [dict(turn) for turn in self.kept.get("turns", [])]
        self.busy = False
        with ui.element("div").classes("pagehead"):
            text_block(page.t("nav.chat"), tag="h1")
            text_block(page.t("chat.intro"), tag="p")
        with ui.element("div").classes("two talks"):
            with ui.element("div").classes("col-16"):
                self._load_box()
                self.talk = ui.element("div").classes("talk").props('data-test="talk" aria-live="polite"')
                self._compose()
            with ui.element("div").classes("bench"), card(page.t("chat.settings")):
                self._settings_box()
        self._draw()
        self._show_loaded()

    # ---- the models ----

    def _load_box(self) -> None:
        with card():
            self._engine_row()
            self._model_row()
            self._turn_engine(self.engine.value)

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
                self._show_loaded()

    async def _unload(self) -> None:
        self.page.shared.loaded = []
        await self.page.shared.talker.end()
        self._show_loaded()

    def _show_loaded(self) -> None:
        names = self.page.shared.loaded if self.page.shared.talker.is_alive else []
        self.says.set_content(
            escape(self.page.t("chat.loaded", name=" · ".join(names)) if names else self.page.t("chat.not_loaded"))
        )
        self.unload_button.set_enabled(bool(names))

    # ---- settings ----

    def _settings_box(self) -> None:
        t, page = self.page.t, self.page
        self.system = ui.textarea(t("chat.system"), value=self.kept.get("system", "")).props(
            "outlined dense autogrow stack-label"
        )
        self.system.classes("wide").on_value_change(lambda event: self._keep("system", event.value or ""))
        self.tools = ui.textarea(t("chat.tools"), value=self.kept.get("tools", "")).classes("wide")
        self.tools.props('outlined dense autogrow stack-label input-class="mono" debounce=400')
        self.tools_say = ui.html("", sanitize=False).classes("small red").props('role="alert"')
        self.tools.on_value_change(lambda event: self._check_tools(event.value or ""))
        with ui.element("div").classes("fields"):
            self.sampling = {}
            for key, start in SAMPLING.items():
                value = self.kept.get("sampling", {}).get(key, start)
                with ui.element("div").classes("field"):
                    text_block(page.label(key), "strong")
                    made = ui.number(value=value).props(f'outlined dense aria-label="{page.label(key)}"').classes("wide")
                    made.on_value_change(lambda _: self._keep_sampling())
                    self.sampling[key] = made
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
            self.store = ui.input(value=self.kept.get("store", STORED)).classes("wide")
            self.store.props(f'outlined dense aria-label="{t("chat.store")}" data-test="store"')
            self.store.on_value_change(lambda event: self._keep("store", event.value or STORED))
            text_block(t("chat.store.hint"), "hint")

    def _check_tools(self, text: str) -> None:
        self._keep("tools", text)
        try:
            read_tools(text)
            self.tools_say.set_content("")
        except DataError as error:
            self.tools_say.set_content(escape(self.page.t("chat.tools.wrong", why=error.message)))

    def _keep_sampling(self) -> None:
        self._keep("sampling", {key: made.value for key, made in self.sampling.items() if made.value is not None})

    def _keep(self, key: str, value: Any) -> None:
        self.kept[key] = value
        self.page.store["chat"] = dict(self.kept)

    # ---- talking ----

    def _compose(self) -> None:
        t = self.page.t
        with ui.element("div").classes("compose"):
            words = {"user": t("chat.role.user"), "tool": t("chat.role.tool")}
            self.role = ui.select(words, value="user").props(f'outlined dense options-dense aria-label="{t("chat.role")}"')
            self.role.classes("hide-phone").style("width: 112px")
            self.message = ui.textarea(placeholder=t("chat.placeholder")).classes("grow")
            self.message.props(f'outlined dense autogrow rows=1 aria-label="{t("chat.message")}" data-test="message"')
            self.message.on("keydown", self._ask, args=[], js_handler=(
                "(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); emit(); } }"
            ))  # fmt: skip
            self.send_button = button(t("chat.send"), self._ask, drawing="send", kind="main").props('data-test="send"')
            self.stop_button = button(t("chat.stop"), lambda: self.page.shared.talker.send("stop"), drawing="stop")
            self.stop_button.set_visibility(False)
            icon_button(t("chat.clear"), "delete", self._clear)

    async def _ask(self) -> None:
        text = (self.message.value or "").strip()
        if not text or self.busy:
            return
        if not self._is_ready():
            return
        self.message.value = ""
        self.turns.append({"role": self.role.value, "content": text, "answers": []})
        await self._answer()

    def _is_ready(self) -> bool:
        if self.page.shared.loaded and self.page.shared.talker.is_alive:
            return True
        self.page.complain(f"{self.page.t('chat.not_loaded')}. {self.page.t('chat.not_loaded.hint')}")
        return False

    async def _answer(self) -> None:
        """Ask for answers to the last turn, and show them as they come."""
        try:
            tools = read_tools(self.kept.get("tools", ""))
        except DataError as error:
            self.page.complain(self.page.t("chat.tools.wrong", why=error.message))
            return
        sides = len(self.page.shared.loaded)
        turn = self.turns[-1]
        turn["answers"] = [{"role": "assistant", "content": "", "thinking": None, "tool_calls": []} for _ in range(sides)]
        self._busy(True)
        self._draw()
        places = self.places[-1]
        drawn = 0.0
        histories = [self._history(side) for side in range(sides)]
        try:
            stream = self.page.shared.talker.stream(
                "ask", histories=histories, system=self.system.value or None, tools=tools, sampling=self._sampling()
            )
            async for answer in stream:
                if "piece" not in answer:
                    for side, message in enumerate(answer["answers"]):
                        turn["answers"][side] = message
                    break
                side, kind, text = answer["piece"]
                key = "thinking" if "think" in kind.lower() or "reason" in kind.lower() else "content"
                turn["answers"][side][key] = (turn["answers"][side][key] or "") + text
                if time.monotonic() - drawn > DRAW_S and not is_gone(self.talk):
                    drawn = time.monotonic()
                    for place, message in zip(places, turn["answers"]):
                        place.set_content(_running(self.page, message))
                    await asyncio.sleep(0)
        except LuthierError as error:
            self.turns.pop()
            if not is_gone(self.talk):
                self.message.value = turn["content"]
                self.page.complain(error)
        finally:
            self._keep("turns", self.turns)
            if not is_gone(self.talk):
                self._busy(False)
                self._draw()

    def _history(self, side: int) -> list[dict[str, Any]]:
        """The conversation as one side remembers it, up to the last question."""
        messages = []
        for turn in self.turns:
            messages.append({"role": turn["role"], "content": turn["content"]})
            if turn is not self.turns[-1] and turn["answers"]:
                messages.append(dict(turn["answers"][min(side, len(turn["answers"]) - 1)]))
        return messages

    def _sampling(self) -> dict[str, Any]:
        values = {key: made.value for key, made in self.sampling.items() if made.value is not None}
        values = {
            key: int(value) if float(value).is_integer() and isinstance(SAMPLING[key], int) else value
            for key, value in values.items()
        }
        return values | {"do_sample": bool(self.sample.value), "enable_thinking": self.thinking.value or "none"}

    def _busy(self, busy: bool) -> None:
        self.busy = busy
        self.stop_button.set_visibility(busy)
        self.send_button.set_visibility(not busy)

    def _clear(self) -> None:
        self.turns.clear()
        self._keep("turns", [])
        self._draw()

    # ---- the conversation ----

    def _draw(self) -> None:
        self.talk.clear()
        self.places: list[list[ui.html]] = []
        with self.talk:
            if not self.turns:
                empty(self.page, "chat.not_loaded" if not self.page.shared.loaded else "chat.message", "chat.not_loaded.hint")
            for number, turn in enumerate(self.turns):
                self._turn(number, turn)

    def _turn(self, number: int, turn: dict[str, Any]) -> None:
        t, last = self.page.t, number == len(self.turns) - 1
        with ui.element("div").classes("turn"):
            text_block(turn["content"], "asked")
            if last and not self.busy:
                with ui.element("div").classes("row-8 end"):
                    icon_button(t("chat.edit.question"), "edit", self._edit_question, tiny=True)
                    icon_button(t("chat.again"), "refresh", self._again, tiny=True).props('data-test="again"')
            with ui.element("div").classes("answers"):
                places = []
                for side, message in enumerate(turn["answers"]):
                    places.append(self._one(number, side, message, len(turn["answers"])))
                self.places.append(places)

    def _one(self, number: int, side: int, message: dict[str, Any], sides: int) -> ui.html:
        t, running = self.page.t, self.busy and number == len(self.turns) - 1
        with ui.element("div").classes("answer" + (" second" if side else "")).props(f'data-test="answer-{side}"'):
            names = self.page.shared.loaded or self.kept.get(LOADED) or []
            text_block(names[side] if side < len(names) else "", "small muted")
            place = ui.html(_running(self.page, message) if running else _finished(self.page, message), sanitize=True)
            if not running:
                with ui.element("div").classes("row-8"):
                    icon_button(t("chat.good"), "good", lambda: self._good(number, side), tiny=True).props(
                        f'data-test="good-{side}"'
                    )
                    icon_button(t("chat.bad"), "bad", lambda: self._mend(number, side), tiny=True).props(
                        f'data-test="bad-{side}"'
                    )
                    if sides == 2:
                        better = icon_button(t("chat.better"), "check", lambda: self._better(number, side), tiny=True)
                        better.props(f'data-test="better-{side}"')
                    icon_button(t("copy"), "copy", lambda: ui.clipboard.write(message["content"]), tiny=True)
        return place

    async def _again(self) -> None:
        if not self.busy and self._is_ready():
            await self._answer()

    def _edit_question(self) -> None:
        turn = self.turns.pop()
        self._keep("turns", self.turns)
        self.message.value = turn["content"]
        self._draw()

    # ---- rows to learn from ----

    def _folder(self) -> Path:
        return self.page.settings.allow(
            self.page.store.get("form.train", {}).get("dataset_dir") or "data", self.page.label("dataset_dir")
        )

    def _before(self, number: int, side: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        for turn in self.turns[: number + 1]:
            messages.append({"role": turn["role"], "content": turn["content"]})
            if turn is not self.turns[number] and turn["answers"]:
                messages.append(dict(turn["answers"][min(side, len(turn["answers"]) - 1)]))
        return messages

    def _keep_row(self, number: int, side: int, chosen: dict[str, Any], rejected: dict[str, Any] | None) -> None:
        try:
            tools = read_tools(self.kept.get("tools", ""))
            prompt = conversation_of(self._before(number, side), self.system.value or None, tools)
            folder, name = self._folder(), (self.store.value or STORED).strip()
            if rejected is None:
                whole = conversation_of([*self._before(number, side), chosen], self.system.value or None, tools)
                name, count = store_good(folder, name, whole)
            else:
                name, count = store_pair(folder, name, prompt, message_of(chosen), message_of(rejected))
        except LuthierError as error:
            self.page.complain(error)
            return
        self.page.tell("chat.stored", name=name, count=count)

    def _good(self, number: int, side: int) -> None:
        self._keep_row(number, side, self.turns[number]["answers"][side], None)

    def _better(self, number: int, side: int) -> None:
        answers = self.turns[number]["answers"]
        self._keep_row(number, side, answers[side], answers[1 - side])

    def _mend(self, number: int, side: int) -> None:
        """A better answer in the reader's words: the pair is kept, and the mended conversation."""
        t, answer = self.page.t, self.turns[number]["answers"][side]
        with dialog(t("chat.edit.title")) as opened:
            area = ui.textarea(value=answer["content"]).props(
                f'outlined autogrow aria-label="{t("chat.edit.title")}" data-test="mended"'
            )
            area.classes("wide")

            def keep() -> None:
                mended = {**answer, "content": area.value or "", "tool_calls": []}
                opened.close()
                if mended["content"].strip() == answer["content"].strip():
                    return
                self._keep_row(number, side, mended, answer)
                self._keep_row(number, side, mended, None)

            with ui.element("div").classes("row-8 end"):
                button(t("cancel"), opened.close)
                button(t("chat.edit.keep"), keep, kind="main").props('data-test="keep-mended"')


def read_tools(text: str) -> list[dict[str, Any]]:
    """The tools of a JSON text; none where it is empty. Raises DataError for anything else than a list of functions."""
    if not text.strip():
        return []
    try:
        tools = json.loads(text)
    except ValueError as error:
        raise DataError(str(error)) from None
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list) or not all(
        isinstance(tool, dict) and (tool.get("function", tool)).get("name") for tool in tools
    ):
        raise DataError('[{"name": ..., "description": ..., "parameters": {...}}]')
    return tools


def _running(page: Page, message: dict[str, Any]) -> str:
    """An answer that is being written: plain text."""
    return _thought(page, message, is_open=not message["content"]) + f'<div class="raw">{escape(message["content"])}▍</div>'


def _finished(page: Page, message: dict[str, Any]) -> str:
    """A whole answer, rendered."""
    calls = "".join(
        f'<div class="note">{escape(page.t("chat.calls", name=call["name"]))}\n'
        f"<code>{escape(json.dumps(call['arguments'], ensure_ascii=False))}</code></div>"
        for call in message.get("tool_calls") or []
    )
    return _thought(page, message, is_open=False) + f'<div class="prose">{to_html(message["content"])}</div>{calls}'


def _thought(page: Page, message: dict[str, Any], *, is_open: bool) -> str:
    if not message.get("thinking"):
        return ""
    state = " open" if is_open else ""
    return (
        f'<details class="thought"{state}><summary>{escape(page.t("chat.thought"))}</summary>'
        f"<div>{escape(message['thinking'])}</div></details>"
    )


def _short(name: str) -> str:
    return Path(name).name if "/" in name and Path(name).exists() else name
