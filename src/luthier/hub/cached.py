"""What Hugging Face's cache on this machine holds. Reads names of folders; never asks the network.

Enters: OWNER/NAME, or nothing.  Leaves: the newest downloaded copy, or every name that has one.
"""

from __future__ import annotations

import os
from pathlib import Path


def cached(name: str) -> Path | None:
    """The newest snapshot that has a config.json; it may still lack weights (luthier.hub.verify tells)."""
    snapshots = _cache() / f"models--{name.replace('/', '--')}" / "snapshots"
    found = [folder for folder in snapshots.glob("*") if (folder / "config.json").is_file()] if snapshots.is_dir() else []
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def cached_names() -> list[str]:
    """OWNER/NAME of every model that was downloaded, in alphabetical order."""
    names = [folder.name.removeprefix("models--").replace("--", "/") for folder in sorted(_cache().glob("models--*"))]
    return [name for name in names if cached(name)]


def _cache() -> Path:
    """HF_HUB_CACHE, else HF_HOME/hub, as huggingface_hub has it; read anew each time, without importing that library."""
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface") / "hub")
