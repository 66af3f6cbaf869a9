"""Cards that a forecast can be made for without having them: cards.yaml by name.

Enters: a name as people write it. Leaves: a Card. Never looks at this machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import ConfigError
from luthier.registry import nearest
from luthier.runtime.device import Device

GIB = 1 << 30
APPLE_SHARE = 0.75
"""Of a Mac's memory, what its GPU may take: the default of Metal's recommended working set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """device: as pick_device would tell it.  memory_bytes: free on an idle card.  bandwidth: bytes a second.
    flops_per_second: of half-precision products.  source: where the figures are from."""

    device: Device
    memory_bytes: int
    bandwidth: float
    flops_per_second: float
    source: str

    @property
    def name(self) -> str:
        return f"{self.device.name} {round(self.memory_bytes / GIB)} GiB"


def find_card(name: str) -> Card:
    """The card called name ("RTX 4090", "rtx4090", "A100 40GB"). ConfigError that names the nearest where there is none, or
    where a card of that name has no such memory."""
    asked, size = _without_size(name)
    known = {_plain(each): each for each in _table()}
    found = known.get(_plain(asked)) or known.get(_plain(f"RTX {asked}"))
    if found is None:
        close = [known[each] for each in nearest(_plain(asked), list(known))]
        raise ConfigError(
            f'no card "{name}" is known.', f"{f'Did you mean {close[0]}? ' if close else ''}Known: {', '.join(_table())}"
        )
    row = _table()[found]
    sizes = row["memory"] if isinstance(row["memory"], list) else [row["memory"]]
    if size is not None and size not in sizes:
        raise ConfigError(f"{found} comes with {' or '.join(f'{n} GB' for n in sizes)}, not {size} GB.")
    gib = size or sizes[0]
    kind = row.get("kind", "cuda")
    return Card(
        device=Device(kind=kind, index=0, name=found, bfloat16=row["bf16"] is not None),
        memory_bytes=int(gib * GIB * (APPLE_SHARE if kind == "mps" else 1.0)),
        bandwidth=row["bandwidth"] * 1e9,
        flops_per_second=(row["bf16"] or row["fp16"]) * 1e12,
        source=row["source"],
    )


def _without_size(name: str) -> tuple[str, int | None]:
    """ "A100 40GB" -> ("A100", 40)"""
    match = re.search(r"[\s-]*(\d+)\s*gi?b\s*$", name, re.I)
    return (name[: match.start()], int(match[1])) if match else (name, None)


def _plain(name: str) -> str:
    """ "NVIDIA GeForce RTX-4090" -> "rtx4090" """
    return re.sub(r"nvidia|geforce|amd|instinct|radeon|apple|tesla|[^a-z0-9]", "", name.lower())


@cache
def _table() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((Path(__file__).parent / "cards.yaml").read_text(encoding="utf-8"))
