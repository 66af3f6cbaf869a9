"""From a name in `dataset:` to its Entry: registered in dataset_info.json, or a bare path or URL; or an error with the nearest.

dataset_dir is a folder, a dict with the content of dataset_info.json, "ONLINE" (names are hub ids) or "REMOTE:<repository>"
(dataset_info.json lies in that hub dataset).
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from luthier.datasets.info import Entry, parse_entry
from luthier.errors import DataError
from luthier.registry import nearest

INFO_FILE = "dataset_info.json"


def find_entry(name: str, dataset_dir: str | Path | Mapping[str, Any], *, modelscope: bool = False) -> Entry:
    """The Entry of a registered name or of a bare path. Raises DataError that says where it looked."""
    if dataset_dir == "ONLINE":
        source = "ms_hub_url" if modelscope else "hf_hub_url"
        return parse_entry(name, {source: name}, base=".", where="dataset_dir ONLINE", modelscope=modelscope)
    info, where, base = load_info(dataset_dir, modelscope=modelscope)
    if name in info:
        return parse_entry(name, info[name], base=base, where=where, modelscope=modelscope)
    location = _bare_location(name, base)
    if location is not None:
        from luthier.datasets.guess import guess_entry

        return guess_entry(name, location)
    close = nearest(name, list(info), count=3)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    known = ", ".join(list(info)[:12]) + (" ..." if len(info) > 12 else "")
    raise DataError(
        f'unknown dataset "{name}": not in {where}, and there is no such file or folder.',
        f"{hint}Registered there: {known or 'nothing'}. A path or URL of a data file works without registration.",
    )


def load_info(
    dataset_dir: str | Path | Mapping[str, Any], *, modelscope: bool | None = None
) -> tuple[Mapping[str, Any], str, str]:
    """(entries, what to call their place, folder for relative file names). A folder without the file has no entries."""
    if isinstance(dataset_dir, Mapping):
        return dataset_dir, "dataset_dir", "."
    text = str(dataset_dir)
    if text.startswith("REMOTE:"):
        from luthier.datasets.sources.hub import download_info

        path = download_info(text.removeprefix("REMOTE:"), INFO_FILE, modelscope=modelscope)
    else:
        path = Path(text).expanduser() / INFO_FILE
    if not path.is_file():
        return {}, f"{path} (which does not exist)", str(path.parent)
    return read_info(path), str(path), str(path.parent)


def read_info(path: Path) -> dict[str, Any]:
    """The content of one dataset_info.json. Raises DataError for broken JSON, with its line."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        info = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", "Mend it there."
        ) from None
    if not isinstance(info, dict):
        raise DataError(f"{path} is not an object of datasets.", 'It reads {"name": {"file_name": "rows.json"}, ...}.')
    return info


def _bare_location(name: str, base: str) -> str | None:
    """name as a path or glob, from the working directory, then from dataset_dir; or as a URL. None where it is neither."""
    if "://" in name:
        return name
    for path in (Path(name).expanduser(), Path(base, name)):
        if path.exists() or (glob.has_magic(name) and next(glob.iglob(str(path), recursive=True), None)):  # noqa: PTH207
            return str(path)
    return None
