"""What settings name and this machine has not: a model, an adapter, a dataset. Said before a job starts, at the field.

Enters: settings.  Leaves: complaints by key. Names of a hub are taken at their word: nothing is asked of any network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from luthier.runs import resolve_checkpoint
from luthier.webui.datapicker import registered
from luthier.webui.models import look

Words = Callable[..., str]
ELSEWHERE = ("ONLINE", "REMOTE:")
PATTERN = ("*", "?", "[", "://")


def absent(settings: Mapping[str, Any], t: Words) -> dict[str, str]:
    """key -> complaint. t: the words of the page."""
    found = {}
    if complaint := _model(str(settings.get("model_name_or_path") or ""), t):
        found["model_name_or_path"] = complaint
    for key in ("adapter_name_or_path", "models"):
        for name in settings.get(key) or []:
            if name != "base" and look(name).state == "missing" and not resolve_checkpoint(name).is_dir():
                found.setdefault(key, t("absent.folder", name=name))
    folder = settings.get("dataset_dir") or "data"
    if isinstance(folder, str) and not folder.startswith(ELSEWHERE):
        known = {one.name for one in registered(folder)}
        for key in ("dataset", "eval_dataset"):
            for name in settings.get(key) or []:
                if name not in known and not _is_there(name, folder):
                    found.setdefault(key, t("absent.dataset", name=name, folder=folder))
    return found


def _model(name: str, t: Words) -> str:
    if not name:
        return ""
    found = look(name)
    if found.state == "missing":
        return t("absent.folder", name=name)
    if found.state == "incomplete":
        return t("model.is_adapter" if found.problem == "adapter" else "model.lacks", what=found.problem)
    return ""


def _is_there(name: str, folder: str) -> bool:
    """A path here or in the data folder; patterns and addresses are looked up when the job reads them."""
    return any(mark in name for mark in PATTERN) or Path(name).expanduser().exists() or (Path(folder) / name).exists()
