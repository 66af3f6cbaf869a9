"""What lies in a folder that is called a model, and which trained ones this user has. Reads JSON and sizes, never a weight.

Enters: a name (starter, a folder, a hub id).  Leaves: Found: whether it is complete, its architecture, size and template.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import LuthierError
from luthier.hub import STARTER, catalog, resolve_model
from luthier.hub.cached import cached, cached_names
from luthier.runs import known_runs
from luthier.runtime.files import size_text

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """state: "complete", "incomplete" (problem says what is missing), "remote" (not on this machine) or "missing"."""

    state: str
    folder: Path | None = None
    architecture: str = ""
    parameters: int | None = None
    num_bytes: int = 0
    template: bool = False
    context: int | None = None
    problem: str = ""

    @property
    def size(self) -> str:
        """2.97M · 5.9 MB"""
        parts = [count_text(self.parameters)] if self.parameters else []
        return " · ".join([*parts, size_text(self.num_bytes)]) if self.num_bytes else "".join(parts)


def look(name: str) -> Found:
    """What is known of a model without fetching anything."""
    if name != STARTER and not Path(name).expanduser().exists():
        folder = cached(name)
        if folder is None:
            looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
            return Found(state="missing" if looks_local else "remote")
    else:
        try:
            folder = resolve_model(name)
        except LuthierError as error:
            return Found(state="missing", problem=error.message)
    return inspect(folder)


def inspect(folder: Path) -> Found:
    """A folder of Hugging Face's layout."""
    config = _json(folder / "config.json")
    if config is None:
        missing = "adapter" if (folder / "adapter_config.json").is_file() else "config.json"
        return Found(state="incomplete", folder=folder, problem=missing)
    files = sorted(folder.glob("*.safetensors"))
    wanted = set((_json(folder / INDEX) or {}).get("weight_map", {}).values()) or {"model.safetensors"}
    absent = sorted(wanted - {file.name for file in files})
    if absent and not any(folder.glob("*.bin")):
        return Found(state="incomplete", folder=folder, architecture=architecture(config), problem=", ".join(absent[:3]))
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return Found(
        state="complete" if has_tokenizer else "incomplete",
        folder=folder,
        architecture=architecture(config),
        parameters=sum(map(parameters_in, files)) or None,
        num_bytes=sum(file.stat().st_size for file in files),
        template=_has_template(folder),
        context=config.get("max_position_embeddings"),
        problem="" if has_tokenizer else "tokenizer.json",
    )


def architecture(config: Mapping[str, Any]) -> str:
    """Qwen3ForCausalLM -> Qwen3"""
    name = (config.get("architectures") or [config.get("model_type") or "?"])[0]
    return name.removesuffix("ForCausalLM").removesuffix("ForConditionalGeneration")


def parameters_in(file: Path) -> int:
    """Numbers in a safetensors file, from its header."""
    with file.open("rb") as data:
        length = struct.unpack("<Q", data.read(8))[0]
        if length > 100 << 20:
            return 0
        header = json.loads(data.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def count_text(number: float) -> str:
    """2970000 -> 2.97M"""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def trained() -> dict[str, dict[str, Any]]:
    """Folders of finished or stopped trainings and their checkpoints: path -> {"base", "adapter", "name", "step"}."""
    found: dict[str, dict[str, Any]] = {}
    for run in known_runs():
        if run.kind != "train":
            continue
        places = [run.folder, *run.checkpoints()] if run.has_model() else run.checkpoints()
        for place in places:
            is_adapter = (place / "adapter_config.json").is_file()
            if not is_adapter and not (place / "config.json").is_file():
                continue
            step = None if place == run.folder else int(place.name.removeprefix("step-"))
            status = run.status()
            base = status.get("model_name_or_path")
            found[str(place)] = {
                "base": base,
                "adapter": is_adapter,
                "name": status.get("name") or run.folder.name,
                "step": step,
            }
    return found


def known_names() -> list[str]:
    """Models to choose from: the starter, what the hub's cache holds, whole models that were trained here, the catalog."""
    whole = [folder for folder, facts in trained().items() if not facts["adapter"]]
    return list(dict.fromkeys([STARTER, *cached_names(), *whole, *(entry.huggingface for entry in catalog())]))


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    return bool((_json(folder / "tokenizer_config.json") or {}).get("chat_template"))


def _json(file: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
