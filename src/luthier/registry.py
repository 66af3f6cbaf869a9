"""A table from names to objects that are imported at first use.

STAGES = Registry("stage", {"sft": "luthier.stages.sft:SFT", "pt": "luthier.stages.pretrain:Pretrain"})
STAGES["sft"]        # imports luthier.stages.sft now, not before
STAGES["stf"]        # ConfigError: unknown stage "stf". Did you mean "sft"?
"""

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from luthier.errors import ConfigError


def nearest(name: str, known: Mapping[str, Any] | list[str], count: int = 1) -> list[str]:
    """The known names that look most like name, best first; may be empty."""
    return difflib.get_close_matches(name.lower(), list(known), n=count, cutoff=0.6)


class Registry(Mapping[str, Any]):
    """kind: what the members are called in messages.  members: name -> "module:attribute"."""

    def __init__(self, kind: str, members: Mapping[str, str]):
        self.kind = kind
        self._members = dict(members)

    def __getitem__(self, name: str) -> Any:
        if name not in self._members:
            close = nearest(name, self._members)
            hint = f'Did you mean "{close[0]}"? ' if close else ""
            raise ConfigError(f'unknown {self.kind} "{name}".', f"{hint}Known: {', '.join(sorted(self._members))}")
        module, _, attribute = self._members[name].partition(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)
