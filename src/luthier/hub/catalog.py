"""The models that are known by name: catalog.yaml as a table.

Enters: a name, with or without its organisation.  Leaves: what the model is called on each hub, and what one should know of it.
It only speeds up the typing: every other repository of a hub works as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

KINDS = ("chat", "reasoning", "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """huggingface, modelscope: OWNER/NAME there.  kind: one of KINDS.

    gated: the licence must be accepted before the download.  code: needs trust_remote_code.
    """

    family: str
    kind: str
    huggingface: str
    modelscope: str
    gated: bool = False
    code: bool = False

    @property
    def name(self) -> str:
        """Qwen3-0.6B"""
        return self.huggingface.partition("/")[2]


@cache
def catalog() -> tuple[Entry, ...]:
    """Every entry, in the order of the file: the families used most first, small models before large ones."""
    table = yaml.safe_load((files("luthier.hub") / "catalog.yaml").read_text(encoding="utf-8"))
    return tuple(
        Entry(
            family=family["family"],
            kind=kind,
            huggingface=f"{family['owner']}/{name}",
            modelscope=f"{family.get('modelscope', family['owner'])}/{family.get('renamed', {}).get(name, name)}",
            gated=family.get("gated", False),
            code=family.get("code", False),
        )
        for family in table
        for kind in KINDS
        for name in family.get(kind, ())
    )


def find_entry(name: str) -> Entry | None:
    """name: Qwen3-0.6B, or OWNER/NAME of either hub, in any case of letters."""
    asked = name.lower()
    for entry in catalog():
        if asked in (entry.name.lower(), entry.huggingface.lower(), entry.modelscope.lower()):
            return entry
    return None
