"""Which keys of the configuration a page shows, and where: layout.yaml and the docs of the keys put together.

Enters: the name of a page.  Leaves: keys in order. A key that starts to work appears by itself in the fold of its group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from luthier.config.docs import Doc, read_docs
from luthier.config.later import is_built
from luthier.config.rules.stages import STAGE_KEYS

PSEUDO = ("compute_type",)
"""Fields that stand for several keys."""


@cache
def table() -> dict[str, Any]:
    """layout.yaml."""
    return yaml.safe_load(files("luthier.webui").joinpath("layout.yaml").read_text(encoding="utf-8"))


def start(page: str) -> dict[str, Any]:
    """What stands in the form of a page the first time."""
    return dict(table()[page].get("start") or {})


def sections(page: str) -> dict[str, list[str]]:
    """Headings in sight -> their keys."""
    return {name: [key for key in keys if key in PSEUDO or can_show(key)] for name, keys in table()[page]["sections"].items()}


def folds(page: str) -> dict[str, list[str]]:
    """Headings of folds -> every other key that works; folds without any are left out."""
    taken = {key for keys in table()[page].get("sections", {}).values() for key in keys} | set(table()["own"])
    taken |= {key for fold in table()[page]["folds"].values() for key in fold.get("keys", ())}
    found = {}
    for name, fold in table()[page]["folds"].items():
        keys = [key for key in fold.get("keys", ()) if can_show(key)]
        for key, doc in read_docs().items():
            if doc.group in fold.get("groups", ()) and key not in taken and can_show(key):
                keys.append(key)
                taken.add(key)
        if keys:
            found[name] = keys
    return found


def model_keys() -> list[str]:
    """What the model bar folds away."""
    first = [key for key in table()["model"]["more"] if can_show(key)]
    groups = table()["model"]["groups"]
    rest = [key for key, doc in read_docs().items() if doc.group in groups and key not in first and key not in table()["own"]]
    return first + [key for key in rest if can_show(key)]


def can_show(key: str) -> bool:
    """Whether a reader can do anything with the key."""
    doc = read_docs().get(key)
    return doc is not None and doc.is_built and not doc.inert and doc.type != "secret"


def is_relevant(key: str, settings: Mapping[str, Any]) -> bool:
    """Whether the key means something under these settings."""
    if key in STAGE_KEYS:
        return (settings.get("stage") or read_docs()["stage"].default) in STAGE_KEYS[key]
    for rule in table()["relevant"]:
        if re.fullmatch(rule["keys"], key):
            return (settings.get(rule["key"]) or read_docs()[rule["key"]].default) in rule["among"]
    return True


def fold_is_relevant(page: str, name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a fold means something under these settings."""
    when = table()[page]["folds"][name].get("when")
    return when is None or (settings.get(when["key"]) or read_docs()[when["key"]].default) in when["among"]


def choices_of(doc: Doc) -> Sequence[Any]:
    """The values of a key that work today."""
    return [value for value in doc.choices if is_built(doc.key, value)]
