"""What is asked of a hub, and what its failures mean to the person who asked.

Enters: Wanted. Leaves: a local folder with every file of it, verified; or one LuthierError that says what to do.
Downloads are resumed by the hub's own client. Never prints or keeps a token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from luthier.errors import DataError, LuthierError, ModelError
from luthier.hub.verify import missing_files
from luthier.runtime.files import FULL, free_bytes, size_text

YES = ("1", "true", "y", "yes", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """name: OWNER/NAME on the hub.  revision: a branch, tag or commit; None for the hub's default.

    allow, ignore: patterns of file names; None for all, none.  needs_weights: the folder must hold a whole model.
    """

    name: str
    kind: Literal["model", "dataset"]
    revision: str | None = None
    cache_dir: str | None = None
    token: str | None = None
    allow: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    needs_weights: bool = False

    def error(self, message: str, remedy: str | None = None) -> LuthierError:
        return (ModelError if self.kind == "model" else DataError)(message, remedy)

    def __str__(self) -> str:
        return f'the {self.kind} "{self.name}"'


def prefers_modelscope(hub: str = "auto") -> bool:
    """Whether names mean repositories on ModelScope. hub: as in the configuration; auto goes by USE_MODELSCOPE_HUB."""
    if hub != "auto":
        return hub == "modelscope"
    return os.environ.get("USE_MODELSCOPE_HUB", "").lower() in YES


def is_offline() -> bool:
    """HF_HUB_OFFLINE=1: nothing is asked of any hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in YES


def fetch(wanted: Wanted, *, modelscope: bool | None = None) -> Path:
    """The folder of wanted, downloaded where it is not there yet. modelscope: None to go by USE_MODELSCOPE_HUB."""
    if prefers_modelscope() if modelscope is None else modelscope:
        from luthier.hub.modelscope import download
    else:
        from luthier.hub.huggingface import download
    folder = download(wanted)
    missing = missing_files(folder) if wanted.needs_weights else []
    if missing:
        raise incomplete(wanted, folder, missing)
    return folder


def incomplete(wanted: Wanted, folder: Path, missing: Sequence[str]) -> LuthierError:
    """Some files are not in folder; and where the hub is offline, why."""
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    if is_offline():
        return wanted.error(
            f"{wanted} is not complete on this machine: {shown} missing in {folder}, and HF_HUB_OFFLINE is set.",
            "Unset HF_HUB_OFFLINE once to fetch the rest, or copy the files there.",
        )
    return wanted.error(
        f"{wanted} lacks files that it needs: {shown} missing in {folder}.",
        "Its owner has to upload them; or its weights are pickled, which are fetched with trust_remote_code: true only.",
    )


def disk_full(wanted: Wanted, folder: Path) -> LuthierError:
    return wanted.error(
        f"the disk is full: {wanted} does not fit into {folder} ({size_text(free_bytes(folder))} are free).",
        "Free some space, or set cache_dir to a folder on a larger disk. What is complete already is kept.",
    )


def is_disk_full(error: BaseException) -> bool:
    return any(isinstance(each, OSError) and each.errno in FULL for each in causes(error))


def causes(error: BaseException | None, seen: int = 0) -> Iterator[BaseException]:
    """error and what led to it; of a download of many files, what happened to each."""
    if error is None or seen > 10:
        return
    yield error
    for each in (error.__cause__ or error.__context__, *getattr(error, "failed_files", {}).values()):
        yield from causes(each, seen + 1)
