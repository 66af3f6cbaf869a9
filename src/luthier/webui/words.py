"""The words of the page, in Chinese and English.

Enters: a language and a key of locales/*.json.  Leaves: text.  Text of models and datasets never passes through here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from luthier.runtime.files import size_text
from luthier.runtime.progress import duration

LANGUAGES = ("zh", "en")
ROW = re.compile(r"\brow (\d+)")
LIKE = re.compile(r"(?<=\d 行) like ")


@cache
def locale(lang: str) -> dict[str, str]:
    """All words of one language."""
    return json.loads(files("luthier.webui").joinpath(f"locales/{lang}.json").read_text(encoding="utf-8"))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    table = json.loads(files("luthier.webui").joinpath("locales/messages_zh.json").read_text(encoding="utf-8"))
    return [(re.compile(pattern, re.DOTALL), text) for pattern, text in table.items()]


def say(lang: str, key: str, **values: Any) -> str:
    """The words of key with {names} filled in. A key that is not there is a fault of ours and shows itself."""
    text = locale(lang)[key]
    return text.format(**values) if values else text


def label(lang: str, key: str) -> str:
    """What a configuration key is called; one without a name of its own is shown as it is written in YAML."""
    return locale(lang).get(f"label.{key}", key)


def choice(lang: str, key: str, value: Any) -> str:
    """What one value of a key is called: `sft` -> `SFT · conversations`; values without words are shown as they are."""
    words = locale(lang).get(f"choice.{key}.{value}")
    return words if words else str(value).lower() if isinstance(value, bool) else str(value)


def figure(lang: str, name: str, value: Any) -> tuple[str, str]:
    """A figure of a results file as (what it is called, what it says): bytes and seconds in units that people read."""
    bare = re.sub(r"^(train|eval|predict)_", "", name)
    words = locale(lang)
    shown = words.get(f"figure.{name}") or words.get(f"figure.{bare}") or bare
    if not isinstance(value, int | float):
        return shown, "–" if value is None else str(value)
    if name.endswith("_bytes"):
        return shown, size_text(int(value))
    if name.endswith("_runtime"):
        return shown, duration(value)
    return shown, f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def translate(lang: str, message: str) -> str:
    """An error message in the reader's language; those that nobody has translated stay as they are."""
    if lang == "en":
        return message
    for pattern, text in _patterns():
        if match := pattern.fullmatch(message.strip()):
            return place(lang, match.expand(text))
    return message


def place(lang: str, text: str) -> str:
    """Where a sample lies, as types.Origin says it: "a.json row 2 like row 1" -> "a.json 第 2 行同 第 1 行"."""
    if lang == "en":
        return text
    return LIKE.sub("同 ", ROW.sub(r"第 \1 行", text))
