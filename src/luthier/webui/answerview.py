"""An answer of a chat as HTML: what was thought, said and called. Foreign text comes out escaped or sanitised."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from luthier.webui.markdown import to_html
from luthier.webui.page import Page


def running(page: Page, message: dict[str, Any]) -> str:
    """An answer that is being written: plain text."""
    return _thought(page, message, is_open=not message["content"]) + f'<div class="raw">{escape(message["content"])}▍</div>'


def finished(page: Page, message: dict[str, Any]) -> str:
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
