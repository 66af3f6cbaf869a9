"""The entries of families/*.yaml: how each named template writes a conversation. families/README.md explains the keys.

In: a name. Out: the Family, or a TemplateError that names the nearest one. Never holds a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from luthier.errors import TemplateError
from luthier.registry import nearest
from luthier.templates.slots import CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One named template. Fixed texts may hold {{content}}, {{bos}}, {{eos}} and {{token:x}}."""

    name: str
    prefix: str = ""
    system: str = CONTENT
    user: str = CONTENT
    tool: str = ""
    tool_join: str = ""
    header: str = ""
    answer: str = CONTENT
    call: str = ""
    end: str = "{{eos}}"
    end_earlier: str = ""
    tail: str = ""
    default_system: str = ""
    system_in_user: bool = False
    ends_with_next: bool = False
    stop: tuple[str, ...] = ()
    tools: str = "default"
    thinking: tuple[str, str] | None = None
    empty_thinking: str = ""
    empty_always: bool = False

    @property
    def slots(self) -> dict[str, str]:
        """Every slot by name; "+header" ends with the generation header, "answer" and "call" with the end of the turn."""
        tool = self.tool or self.user
        words = {"answer": self.answer, "call": self.call or self.answer}
        ends = {"": self.end, " earlier": self.end_earlier or self.end}
        answers = {f"{name}{when}": text + end + self.tail for name, text in words.items() for when, end in ends.items()}
        return {
            "prefix": self.prefix,
            "system": self.system,
            "user": self.user,
            "user+header": self.user + self.header,
            "tool": tool,
            "tool+header": tool + self.header,
            "tool_join": self.tool_join,
            "header": self.header,
            "empty_thinking": self.empty_thinking or "".join(self.thinking or ()),
            **answers,
        }

    @property
    def texts(self) -> list[str]:
        """Every fixed text, to find the control words among them."""
        return [*self.slots.values(), *self.stop, *(self.thinking or ())]


@cache
def _entries() -> dict[str, dict[str, Any]]:
    folder = files("luthier.templates").joinpath("families")
    tables = [yaml.safe_load(each.read_text(encoding="utf-8")) for each in folder.iterdir() if each.name.endswith(".yaml")]
    return {name: entry or {} for table in tables for name, entry in table.items() if not name.startswith("_")}


@cache
def _multimodal() -> frozenset[str]:
    text = files("luthier.templates").joinpath("families", "_multimodal.yaml").read_text(encoding="utf-8")
    return frozenset(yaml.safe_load(text)["_multimodal"])


def family_names() -> list[str]:
    """The names that `template:` takes, besides auto."""
    return sorted(_entries())


def load_family(name: str) -> Family:
    """The entry of this name, with what it takes over from another (`like`). An alias is an entry with `like` alone."""
    if name not in _entries():
        if name in _multimodal():
            raise TemplateError(
                f'template "{name}" belongs to a model of pictures, sound or video, which Luthier does not train yet.',
                "Text-only use of such a model: template: auto",
            )
        close = nearest(name, [*_entries(), "auto"])
        raise TemplateError(
            f'unknown template "{name}".',
            (f'Did you mean "{close[0]}"? ' if close else "") + f"Known: auto, {', '.join(family_names())}",
        )
    return _build(name, _inherited(name))


def _inherited(name: str) -> dict[str, Any]:
    entry = dict(_entries()[name])
    like = entry.pop("like", None)
    return {**(_inherited(like) if like else {}), **entry}


def _build(name: str, entry: Mapping[str, Any]) -> Family:
    known = {field.name for field in fields(Family)}
    unknown = set(entry) - known
    if unknown:
        raise TemplateError(f'template "{name}": unknown keys {sorted(unknown)}.', f"Known: {sorted(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Family(name=name, **values)
