"""Small parts that every page is made of: buttons, chips, code with a copy button, dialogs, empty states.

Enters: words.  Leaves: elements. Text that comes from models, datasets or logs is escaped here or set as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import ui

from luthier.webui.icons import icon

if TYPE_CHECKING:
    from luthier.webui.page import Page

STATE_LOOKS = {
    "running": "live", "stopping": "warn", "queued": "warn", "finished": "good", "stopped": "warn", "failed": "bad", "died":
    "bad", }  # fmt: skip


def button(
    text: str,
    on_click: Callable[..., Any] | None = None,
    *,
    drawing: str | None = None,
    kind: str = "plain",
    tiny: bool = False,
) -> ui.button:
    """kind: main, plain, quiet, danger or icon (then an aria-label has to be given)."""
    made = ui.button(on_click=on_click, color=None).props("flat no-caps").classes(f"btn-{kind}" + (" btn-tiny" if tiny else ""))
    with made:
        if drawing:
            icon(drawing, 16 if tiny else 18)
        if text:
            ui.html(escape(text), sanitize=False, tag="span").classes("text")
    return made


def take_drops(upload: ui.upload, words: str, choose: str) -> ui.upload:
    """The head of an upload: files may be dropped on all of it, a click anywhere chooses them, and so does a key on its button.
    Quasar's own head has a nameless field inside of a nameless link."""
    head = f"""<div class="dropped"><label><span>{escape(words)}</span><q-uploader-add-trigger /></label>
      <q-btn flat no-caps class="btn-plain" @click="props.pickFiles"><span class="text">{escape(choose)}</span></q-btn></div>"""
    upload.add_slot("header", head)
    return upload


def icon_button(label: str, drawing: str, on_click: Callable[..., Any] | None = None, *, tiny: bool = False) -> ui.button:
    """A button that is only a drawing; label is what it says to those who cannot see it, and in its tooltip."""
    made = button("", on_click, drawing=drawing, kind="icon", tiny=tiny)
    made.props["aria-label"] = label  # foreign names are no part of a string that is parsed
    made.tooltip(label)
    return made


def text_block(text: str, classes: str = "", tag: str = "div") -> ui.html:
    """Foreign text, shown as it is."""
    return ui.html(escape(text), sanitize=False, tag=tag).classes(classes)


def state_chip(page: Page, state: str) -> str:
    """The state of a run as HTML."""
    return f'<span class="chip {STATE_LOOKS.get(state, "")}">{escape(page.t("state." + state))}</span>'


@contextmanager
def card(title: str = "", hint: str = "") -> Iterator[ui.element]:
    """A bordered surface with its heading. Yields the surface."""
    with ui.element("section").classes("card") as made:
        with ui.element("div").classes("head") as head:
            if title:
                text_block(title, tag="h2")
            if hint:
                text_block(hint, "muted small")
        if not title:
            head.set_visibility(False)
        yield made


def empty(page: Page, title: str, hint: str) -> None:
    """Nothing is here yet: what would be, and what to do."""
    with ui.element("div").classes("empty"):
        text_block(page.t(title), tag="h2")
        text_block(page.t(hint))


def code_block(page: Page, text: str, name: str) -> None:
    """Text to take away. name: what it is called by tests and screen readers."""
    with ui.element("div").classes("col-8"):
        ui.html(escape(text), sanitize=False, tag="pre").classes("code").props(f'tabindex="0" data-test="{name}"')
        with ui.element("div").classes("row-8 end"):
            button(page.t("copy"), lambda: copy(page, text), drawing="copy", kind="plain")


def copy(page: Page, text: str) -> None:
    """Into the clipboard of the browser."""
    ui.clipboard.write(text)
    page.tell("copied")


@contextmanager
def dialog(title: str, *, narrow: bool = False) -> Iterator[ui.dialog]:
    """An open dialog with a heading; it is gone for good when it closes."""
    with ui.dialog() as made, ui.element("div").classes("q-card dialog" + (" narrow" if narrow else "")):
        made.props["aria-label"] = title
        text_block(title, tag="h2")
        yield made
    made.on("hide", made.delete)
    made.open()


async def confirm(page: Page, title: str, text: str, action: str, *, danger: bool = False) -> bool:
    """Ask before something that cannot be taken back."""
    with dialog(title, narrow=True) as asked:
        text_block(text, "break")
        with ui.element("div").classes("row-8 end"):
            button(page.t("cancel"), lambda: asked.submit(False))
            button(action, lambda: asked.submit(True), kind="danger" if danger else "main").props('data-test="confirm"')
    return bool(await asked)


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = (), caption: str = "") -> str:
    """An HTML table of texts. numeric: columns set to the right."""
    side = ['class="num"' if at in numeric else "" for at in range(len(head))]
    titles = "".join(f'<th scope="col" {side[at]}>{escape(cell)}</th>' for at, cell in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td {side[at]}>{escape(cell)}</td>" for at, cell in enumerate(row)) + "</tr>" for row in rows
    )
    label = f'<caption class="sr">{escape(caption)}</caption>' if caption else ""
    return f'<table class="plain">{label}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'


def is_gone(element: ui.element) -> bool:
    """Whether the page that an element belongs to was closed while something was waited for."""
    try:
        return element.is_deleted or element.client.is_deleted
    except RuntimeError:
        return True
