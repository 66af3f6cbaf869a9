"""Settings as a person would give them on a command line or in a file.

Enters: a verb and its settings.  Leaves: text that a shell runs, and that gives the very same configuration.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from luthier.config import dump_yaml, load_config
from luthier.errors import LuthierError

WIDTH = 100
FILE = "run.yaml"


def command_line(verb: str, settings: Mapping[str, Any]) -> str:
    """luthier VERB --key value ..., folded with backslashes. Where flags cannot say a value (the text "none", a name with a
    comma), the settings are written into a file first; in every case the configuration is the same."""
    words = words_of(settings)
    if not _means_the_same(words, settings):
        return f"cat > {FILE} <<'LUTHIER_END'\n{yaml_of(settings)}LUTHIER_END\nluthier {verb} {FILE}"
    pieces = [f"luthier {verb}"] + [" ".join(map(shlex.quote, pair)) for pair in words]
    if len(" ".join(pieces)) <= WIDTH:
        return " ".join(pieces)
    return " \\\n  ".join(pieces)


def words_of(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One flag with its value for each setting."""
    return [_flag(key, _text(value)) for key, value in settings.items()]


def yaml_of(settings: Mapping[str, Any]) -> str:
    """The settings as a YAML file."""
    return dump_yaml(dict(settings)) if settings else "{}\n"


def _flag(key: str, text: str) -> tuple[str, ...]:
    return (f"--{key}={text}",) if not text or text.startswith("-") else (f"--{key}", text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(item, str) and item.strip() == item and "," not in item for item in value):
        return ",".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value)


def _means_the_same(words: list[tuple[str, ...]], settings: Mapping[str, Any]) -> bool:
    try:
        return load_config([word for pair in words for word in pair]) == load_config(dict(settings))
    except LuthierError:
        return False
