"""Whether a downloaded folder is what the hub says it is: every byte, and every file that a model needs.

The cache of Hugging Face names each file by its hash (SHA-256, or git's SHA-1 for small ones), but its client compares sizes
only. Each file is hashed once; what was found good is remembered by its size and time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from luthier.runtime.files import write_atomic
from luthier.runtime.pointers import cache_folder

logger = logging.getLogger(__name__)

WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def damaged_files(snapshot: Path) -> list[Path]:
    """Files of a snapshot folder of the Hugging Face cache whose bytes are not those that their hash names."""
    kept = cache_folder() / "verified" / f"{hashlib.sha256(str(snapshot.parent.parent).encode()).hexdigest()[:32]}.json"
    good: dict[str, list[int]] = _read(kept)
    found: list[Path] = []
    known = dict(good)
    for file in sorted(path for path in snapshot.rglob("*") if path.is_symlink() and path.is_file()):
        blob = file.resolve()
        state = [blob.stat().st_size, blob.stat().st_mtime_ns]
        if good.get(blob.name) == state:
            continue
        if _hash_of(blob) in (blob.name, None):
            good[blob.name] = state
        else:
            found.append(file)
    if good != known:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, json.dumps(good), durable=False)
    return found


def _hash_of(blob: Path) -> str | None:
    """The hash of the kind that its name is; None where the name is no hash."""
    if len(blob.name) == 64:
        with blob.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if len(blob.name) == 40:
        digest = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
        with blob.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()
    return None


def missing_files(folder: Path) -> list[str]:
    """What a model's or an adapter's folder lacks: its configuration, its weights, or shards that its index names."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    missing = [] if names & {"config.json", "adapter_config.json"} else ["config.json"]
    index = next((name for name in INDEXES if name in names), None)
    if index:
        shards = set(_read(folder / index).get("weight_map", {}).values())
        return missing + sorted(shard for shard in shards if not (folder / shard).is_file())
    return missing if names & set(WEIGHTS) else [*missing, WEIGHTS[0]]


def _read(path: Path) -> dict:
    """A JSON object; empty where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
