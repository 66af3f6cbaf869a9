"""Chat: talk to a model, or to two at once; answers that are good, bad or mended become training rows.

Enters: a Page.  Leaves: a conversation in the browser's storage, rows in the data folder. The models live in the talker
process.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.errors import LuthierError
from luthier.webui.answerview import finished, running
from luthier.webui.feedback import conversation_of, message_of, store_good, store_pair
from luthier.webui.page import Page
from luthier.webui.pages.chat_models import LOADED, ChatModels
from luthier.webui.pages.chat_settings import ChatSettings
from luthier.webui.parts import button, dialog, empty, icon_button, is_gone, text_block

DRAW_S = 0.12


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
                self.models = ChatModels(page, self.kept, self._keep)
                self.talk = ui.element("div").classes("talk").props('data-test="talk" aria-live="polite"')
                self._compose()
            with ui.element("div").classes("bench"):
                self.settings = ChatSettings(page, self.kept, self._keep)
        self._draw()

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
        if not self.models.is_ready():
            return
        self.message.value = ""
        self.turns.append({"role": self.role.value, "content": text, "answers": []})
        await self._answer()

    async def _answer(self) -> None:
        """Ask for answers to the last turn, and show them as they come."""
        sides, turn = len(self.models.names), self.turns[-1]
        before = turn["answers"]
        turn["answers"] = [{"role": "assistant", "content": "", "thinking": None, "tool_calls": []} for _ in range(sides)]
        self._busy(True)
        self._draw()
        places = self.places[-1]
        drawn = 0.0
        histories = [self._before(len(self.turns) - 1, side) for side in range(sides)]
        try:
            settings = self.settings
            stream = self.page.shared.talker.stream(
                "ask", histories=histories, system=settings.system, tools=settings.tools, sampling=settings.sampling
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
                        place.set_content(running(self.page, message))
                    await asyncio.sleep(0)
        except LuthierError as error:
            turn["answers"] = before
            if not before:
                self.turns.pop()
            if not is_gone(self.talk):
                self.message.value = "" if before else turn["content"]
                self.page.complain(error)
        finally:
            self._keep("turns", self.turns)
            if not is_gone(self.talk):
                self._busy(False)
                self._draw()

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
                empty(self.page, "chat.not_loaded" if not self.models.names else "chat.message", "chat.not_loaded.hint")
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
        t, is_running = self.page.t, self.busy and number == len(self.turns) - 1
        with ui.element("div").classes("answer" + (" second" if side else "")).props(f'data-test="answer-{side}"'):
            names = self.models.names or self.kept.get(LOADED) or []
            text_block(names[side] if side < len(names) else "", "small muted")
            place = ui.html(running(self.page, message) if is_running else finished(self.page, message), sanitize=True)
            if not is_running:
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
        if not self.busy and self.models.is_ready():
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
        """The conversation as one side remembers it, up to the question of that turn."""
        messages: list[dict[str, Any]] = []
        for turn in self.turns[: number + 1]:
            messages.append({"role": turn["role"], "content": turn["content"]})
            if turn is not self.turns[number] and turn["answers"]:
                messages.append(dict(turn["answers"][min(side, len(turn["answers"]) - 1)]))
        return messages

    def _keep_row(self, number: int, side: int, chosen: dict[str, Any], rejected: dict[str, Any] | None) -> None:
        try:
            tools = self.settings.tools
            prompt = conversation_of(self._before(number, side), self.settings.system, tools)
            folder, name = self._folder(), self.settings.store
            if rejected is None:
                whole = conversation_of([*self._before(number, side), chosen], self.settings.system, tools)
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
