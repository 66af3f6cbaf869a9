"""Folders that a user's programs remember: one small file for each, so that two processes never rewrite the same one.

What enters: folders. What leaves: the folders again, in any later process. It never looks inside them.
"""

import hashlib
import os
import sys
from pathlib import Path

from luthier.runtime.files import write_atomic


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again: ~/.cache/luthier, or what the platform uses for it."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "luthier"


class Pointers:
    """A set of absolute folders, kept as files under the user's cache folder."""

    def __init__(self, name: str):
        self.folder = cache_folder() / name

    def add(self, target: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._file(target), str(target), durable=False)

    def forget(self, target: Path) -> None:
        self._file(target).unlink(missing_ok=True)

    def all(self) -> list[Path]:
        return [Path(file.read_text(encoding="utf-8")) for file in self.folder.glob("[0-9a-f]*")]

    def _file(self, target: Path) -> Path:
        return self.folder / hashlib.sha256(str(target).encode()).hexdigest()[:20]
