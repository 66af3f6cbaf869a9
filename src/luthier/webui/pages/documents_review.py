"""Rows one by one, those in doubt first, beside the source that proves them: accept, edit, reject, next, by mouse or by keys.

Enters: a Desk.  Leaves: decisions and edits in the project; an edited answer gives a preference pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import events, ui

from luthier.documents import review
from luthier.documents.project import Project
from luthier.errors import LuthierError
from luthier.webui.documentdesk import Desk
from luthier.webui.documentviews import marked
from luthier.webui.pagepictures import address, picture_html
from luthier.webui.parts import button, empty, icon_button, is_gone, text_block

MOST = 100
KEYS = {"a": "accepted", "r": "rejected", "u": "open"}
DECISION_LOOKS = {"accepted": "good", "rejected": "bad", "open": ""}
ANY = "any"


class Review:
    """A queue of at most a hundred rows, read again when it is used up."""

    def __init__(self, desk: Desk, decision: str = "open", flag: str = ""):
        self.desk, self.page = desk, desk.page
        self.decision, self.flag = decision, flag
        self.rows: list[dict[str, Any]] = []
        self.number = 0
        self.edits = False
        self.is_busy = False
        self.picture = bool(desk.page.store.get("documents.picture", True))

    async def draw(self) -> None:
        t = self.page.t
        counts, flags = await self.desk.ask(lambda project: (review.counts(project), review.flags(project)))
        if not sum(counts.values()):
            empty(self.page, "docs.no_rows", "docs.no_rows.hint")
            return
        with ui.element("div").classes("row-8 apart"):
            with ui.element("div").classes("row-8"):
                names = {name: f"{t('docs.decision.' + name)} · {counts[name]:,}" for name in review.DECISIONS}
                names = {"open": names["open"], **names, ANY: t("docs.decision.any")}
                which = ui.select(names, value=self.decision).props(
                    f'outlined dense options-dense aria-label="{t("docs.decision")}" data-test="decision"'
                )
                named = {code: f"{_flag_words(self.page, code)} · {count:,}" for code, count in flags.items()}
                flag = ui.select({"": t("docs.flag.all"), **named}, value=self.flag).props(
                    f'outlined dense options-dense aria-label="{t("docs.flag")}"'
                )
            self.status = ui.html("", sanitize=False, tag="span").classes("muted")
            self.status.props('role="status" data-test="review-status"')
        which.on_value_change(lambda event: self._choose(decision=event.value))
        flag.on_value_change(lambda event: self._choose(flag=event.value))
        self.place = ui.element("div").classes("two docs-review")
        text_block(t("docs.keys"), "small muted hide-phone")
        ui.keyboard(on_key=self._key, repeating=False, ignore=["input", "select", "textarea"])
        await self._load()

    async def _choose(self, **chosen: str) -> None:
        self.decision, self.flag = chosen.get("decision", self.decision), chosen.get("flag", self.flag)
        await self._load()

    async def _load(self) -> None:
        self.rows = await self.desk.ask(self._look)
        self.number, self.edits = 0, False
        await self._show()

    def _look(self, project: Project) -> list[dict[str, Any]]:
        wanted = None if self.decision == ANY else self.decision
        return [dict(row) for row in review.queue(project, flag=self.flag or None, decision=wanted, limit=MOST)]

    # ---- one row ----

    async def _show(self) -> None:
        t = self.page.t
        if is_gone(self.place):
            return
        if not self.rows:
            self.status.set_content("")
            self.place.clear()
            with self.place:
                empty(self.page, "docs.queue_empty", "docs.queue_empty.hint")
            return
        self.found, html, row = await self.desk.ask(self._details)
        self.status.set_content(escape(t("docs.row_of", number=self.number + 1, total=len(self.rows))))
        self.place.clear()
        with self.place:
            with ui.element("section").classes("card docs-row"):
                self._row()
            with ui.element("section").classes("card"):
                self._source(html, row)

    def _details(self, project: Project) -> tuple[dict[str, Any], str, dict[str, Any]]:
        row = review.find_row(project, self.rows[self.number]["id"])
        found = review.details(project, row)
        text = project.text(row["text_sha"])
        start = row["start"] if row["prefix_start"] is None else min(row["start"], row["prefix_start"])
        spans = [(quote["start"], quote["end"]) for quote in found["quotes"]]
        inside = [span for span in spans if start <= span[0] < row["end"]]
        first = start if any(left < row["start"] for left, _ in inside) else row["start"]
        quoted = min((left for left, _ in inside), default=row["start"])
        page = "SELECT page FROM page WHERE doc=? AND start<=? ORDER BY start DESC LIMIT 1"
        found["page"] = project.store.value(page, row["doc"], quoted)  # where the proof stands, not where its chunk begins
        kind = project.store.one("SELECT id, kind, sha256, name FROM document WHERE id=?", row["doc"])
        return found, marked(text, first, row["end"], spans), dict(kind)  # type: ignore[arg-type]

    def _row(self) -> None:
        t, found = self.page.t, self.found
        decision = found["decision"]
        with ui.element("div").classes("row-8 apart"):
            chips = [f'<span class="chip {DECISION_LOOKS[decision]}">{escape(t("docs.decision." + decision))}</span>']
            if found["duplicate_of"]:
                chips.append(f'<span class="chip warn">{escape(t("docs.duplicate"))}</span>')
            ui.html(f'<div class="row-8" data-test="row-state">{"".join(chips)}</div>', sanitize=False)
            with ui.element("div").classes("row-8 nowrap"):
                icon_button(t("previous"), "left", lambda: self._move(-1))
                icon_button(t("next"), "right", lambda: self._move(1)).props('data-test="next-row"')
        if self.edits:
            self._editor()
        else:
            self._reader()
        for flag in found["flags"]:
            detail = f": {flag['detail']}" if flag["detail"] else ""
            text_block(f"{_flag_words(self.page, flag['code'])}{detail}", "note bad" if flag["blocks"] else "note")
        for verdict in found["verdicts"]:
            words = f"{t('docs.axis.' + verdict['axis'])} {verdict['score']:g} / 10"
            text_block(f"{words} · {verdict['reason']}" if verdict["reason"] else words, "small muted break")

    def _reader(self) -> None:
        t, found = self.page.t, self.found
        with ui.element("div").classes("col-4"):
            text_block(t("docs.question"), "small muted")
            text_block(found["question"], "docs-question").props('data-test="question"')
        turns = found["turns"] or [{"role": "assistant", "content": found["answer"]}]
        with ui.element("div").classes("col-8"):
            text_block(t("docs.answer"), "small muted")
            for turn in turns[1:] if found["turns"] and turns[0]["content"] == found["question"] else turns:
                who = "said ours" if turn["role"] == "assistant" else "said"
                text_block(turn["content"], f"docs-said {who}").props('data-test="answer"')
        if found["thinking"]:
            ui.html(
                f'<details class="thought"><summary>{escape(t("docs.thinking"))}</summary>'
                f"<div>{escape(found['thinking'])}</div></details>",
                sanitize=False,
            )
        with ui.element("div").classes("row-8"):
            button(f"{t('docs.accept')} (A)", lambda: self._decide("accepted"), drawing="check", kind="main").props(
                'data-test="accept" aria-keyshortcuts="a"'
            )
            button(f"{t('docs.edit')} (E)", self._edit, drawing="edit").props('data-test="edit-row" aria-keyshortcuts="e"')
            button(f"{t('docs.reject')} (R)", lambda: self._decide("rejected"), drawing="close", kind="danger").props(
                'data-test="reject" aria-keyshortcuts="r"'
            )
            if found["decision"] != "open":
                button(f"{t('docs.reopen')} (U)", lambda: self._decide("open"), kind="quiet")

    def _editor(self) -> None:
        t, found = self.page.t, self.found
        text_block(t("docs.edit.hint"), "small muted")
        self.question = ui.textarea(t("docs.question"), value=found["question"]).classes("wide")
        self.answer = ui.textarea(t("docs.answer"), value=found["answer"]).classes("wide")
        for area, name in ((self.question, "edit-question"), (self.answer, "edit-answer")):
            area.props(f'outlined dense autogrow stack-label data-test="{name}"')
            area.on("keydown.ctrl.enter", self._keep)
            area.on("keydown.esc", self._leave)
        with ui.element("div").classes("row-8"):
            button(f"{t('docs.keep')} (Ctrl+↵)", self._keep, drawing="save", kind="main").props('data-test="keep"')
            button(t("cancel"), self._leave)

    def _source(self, html: str, row: Mapping[str, Any]) -> None:
        t, found = self.page.t, self.found
        has_picture = row["kind"] == "pdf" and bool(found["page"])
        with ui.element("div").classes("row-8 apart"):
            place = [found["document"], *([t("docs.page_n", page=found["page"])] if found["page"] else []), *found["section"]]
            text_block(" › ".join(place), "small strong break grow")
            if has_picture:
                look = ui.toggle({True: t("docs.as_page"), False: t("docs.as_text")}, value=self.picture)
                look.props("unelevated no-caps dense").on_value_change(lambda event: self._look_at(event.value))
            button(t("docs.open_text"), lambda: self._open(row), tiny=True)
        if not found["quotes"]:
            text_block(t("docs.no_quotes"), "small muted")
        for quote in found["quotes"]:
            if quote["match"] == "none":
                text_block(t("docs.lost_quote", quote=quote["quote"]), "note bad")
        if has_picture and self.picture:
            find = " ".join(quote["quote"] for quote in found["quotes"] if quote["match"] != "none")
            url = address(str(self.desk.folder), row["id"], found["page"], version=row["sha256"], find=find)
            alt = t("docs.page_picture", page=found["page"], name=row["name"])
            ui.html(picture_html(url, alt), sanitize=False)
            return
        ui.html(html, sanitize=False).classes("docs-passage").props('tabindex="0" data-test="passage"')

    # ---- what is done ----

    async def _key(self, event: events.KeyEventArguments) -> None:
        if not event.action.keydown or event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta or not self.rows:
            return
        if is_gone(self.place):
            return
        name = event.key.name.lower()
        if name in KEYS:
            await self._decide(KEYS[name])
        elif name == "e":
            await self._edit()
        elif name in ("n", "arrowright", "j"):
            await self._move(1)
        elif name in ("p", "arrowleft", "k"):
            await self._move(-1)

    async def _decide(self, decision: str) -> None:
        if self.edits or self.is_busy:
            return
        id = self.rows[self.number]["id"]
        await self._do(lambda project: review.decide(project, [id], decision))

    async def _edit(self) -> None:
        self.edits = True
        await self._show()
        self.answer.run_method("focus")

    async def _leave(self) -> None:
        self.edits = False
        await self._show()

    async def _keep(self) -> None:
        id, question, answer = self.rows[self.number]["id"], self.question.value or "", self.answer.value or ""

        def do(project: Project) -> None:
            review.edit(project, id, "question", question)
            review.edit(project, id, "answer", answer)
            review.decide(project, [id], "accepted")

        await self._do(do)

    async def _do(self, action: Any) -> None:
        """Then the next row; where the queue is used up, what is left of it. A key that comes too early counts for nothing."""
        self.is_busy = True
        try:
            await self.desk.ask(action)
            self.edits = False
            if self.number + 1 < len(self.rows):
                self.number += 1
                await self._show()
            else:
                await self._load()
        except LuthierError as error:
            self.page.complain(error)
            return
        finally:
            self.is_busy = False
        await self.desk.look_again()

    async def _move(self, by: int) -> None:
        if self.is_busy:
            return
        self.number = min(max(0, self.number + by), len(self.rows) - 1)
        self.edits = False
        await self._show()

    async def _look_at(self, picture: bool) -> None:
        self.picture = self.page.store["documents.picture"] = bool(picture)
        await self._show()

    async def _open(self, row: Mapping[str, Any]) -> None:
        await self.desk.go("text", document=row["id"], at=self.found["source_start"])


def _flag_words(page: Any, code: str) -> str:
    return page.t(f"flag.{code}")
