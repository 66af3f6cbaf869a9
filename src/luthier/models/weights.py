"""Are the weight files of a model folder there, whole, and of a kind that is safe to read? Reads headers only."""

from __future__ import annotations

import json
from pathlib import Path

from luthier.errors import ModelError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def check_weights(folder: Path, allow_pickle: bool = False) -> bool:
    """True: safetensors, all files there and whole. False: pickled weights, which the user allowed. ModelError otherwise."""
    shards = _shards(folder)
    if shards is None:
        pickles = sorted(folder.glob("pytorch_model*.bin"))
        if pickles and allow_pickle:
            return False
        if pickles:
            raise ModelError(
                f"{folder} has its weights as pickle ({pickles[0].name}) only, which can run code when read.",
                "Use a safetensors copy, or set trust_remote_code: true if you trust the file.",
            )
        raise ModelError(f"{folder} has no weights: no {SINGLE} and no {INDEX}.", "Download or copy the model again.")
    absent = [name for name in shards if not (folder / name).is_file()]
    if absent:
        raise ModelError(
            f"{folder} lacks {len(absent)} of {len(shards)} weight files: {', '.join(absent[:4])}.", "Download them again."
        )
    for name in shards:
        _check_header(folder / name)
    return True


def _shards(folder: Path) -> list[str] | None:
    if (folder / SINGLE).is_file():
        return [SINGLE]
    if not (folder / INDEX).is_file():
        return None
    try:
        return sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder / INDEX} is broken: {first_line(error)}", "Download or copy it again.") from error


def _check_header(file: Path) -> None:
    """Opening compares the header with the length of the file, so a cut download is found before anything is loaded."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt"):
            pass
    except SafetensorError as error:
        size = file.stat().st_size
        raise ModelError(f"{file} is broken ({size:,} bytes): {first_line(error)}.", "Download or copy it again.") from error


def weight_bytes(folder: Path) -> int:
    """Size of the weight files, in bytes."""
    return sum(file.stat().st_size for pattern in ("*.safetensors", "pytorch_model*.bin") for file in folder.glob(pattern))


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, for an error message of ours."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
