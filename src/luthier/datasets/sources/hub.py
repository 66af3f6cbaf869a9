"""Datasets on Hugging Face or ModelScope, by repository name.

Enters: an Entry with hf_hub_url or ms_hub_url (subset, split, folder, revision). Leaves: rows.
`datasets` tells which files of the repository make the split; those alone are downloaded, verified, and read by our own
readers, so that a bad row is named as in any other file (or read from the hub as they come, when streaming). Splits that it
makes otherwise (slices, formats of its own) are read through it. Never runs code of a repository.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.datasets.base import BadRow
from luthier.datasets.info import Entry
from luthier.datasets.sources import READERS
from luthier.datasets.sources.file import File
from luthier.datasets.sources.local import FilesSource
from luthier.errors import DataError, LuthierError
from luthier.hub import Wanted, fetch
from luthier.hub.fetch import causes, is_offline
from luthier.hub.huggingface import explained
from luthier.runtime.files import write_atomic
from luthier.runtime.pointers import cache_folder

if TYPE_CHECKING:
    from luthier.config import Config

PLACE_KEYS = {"name", "version", "data_dir", "data_files", "description", "features"}
"""What of a builder's configuration does not change how a file is read."""


class HubSource:
    """Rows of one split. Nothing is asked of the hub before the first row is."""

    def __init__(self, entry: Entry, config: Config):
        self.entry = entry
        self.config = config
        self._source: FilesSource | _Prepared | None = None

    def rows(self) -> Iterator[tuple[str, int, Mapping[str, Any] | BadRow]]:
        yield from self._opened().rows()

    def fingerprint(self) -> str:
        return self._opened().fingerprint()

    def _opened(self) -> FilesSource | _Prepared:
        self._source = self._source or _open(self.entry, self.config)
        return self._source


def _open(entry: Entry, config: Config) -> FilesSource | _Prepared:
    if entry.source == "ms_hub_url":
        folder = fetch(_wanted(entry, config), modelscope=True)
        builder = _builder(entry, config, str(folder))
        found = _files(builder, entry)
        return FilesSource([File(path) for path in found]) if found else _Prepared(builder, entry, config)
    record = _record(entry)
    if is_offline() and record.is_file():
        return _fetched(entry, config, **json.loads(record.read_text(encoding="utf-8")))
    builder = _builder(entry, config, entry.location)
    before = f"hf://datasets/{entry.location}@{builder.hash}/"
    found = [path.removeprefix(before) for path in _files(builder, entry)]
    if not found or any("://" in path for path in found):
        return _Prepared(builder, entry, config)
    if Path(entry.location).is_dir():
        return FilesSource([File(path) for path in found], spot_check=config.streaming)
    if config.streaming and config.hf_hub_token:  # our readers open URLs with the token that the user is logged in with
        return _Prepared(builder, entry, config)
    if config.streaming:
        return FilesSource([File(before + path) for path in found], spot_check=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record, json.dumps({"commit": builder.hash, "files": found}), durable=False)
    return _fetched(entry, config, builder.hash, found)


def _record(entry: Entry) -> Path:
    """Where is kept which files make this split: what an offline start cannot ask."""
    asked = [entry.location, entry.subset, entry.split, entry.folder, entry.revision]
    return cache_folder() / "hub" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}.json"


def _fetched(entry: Entry, config: Config, commit: str, files: Sequence[str]) -> FilesSource:
    wanted = replace(_wanted(entry, config), revision=commit, allow=[glob.escape(path) for path in files])
    folder = fetch(wanted, modelscope=False)
    return FilesSource([File(str(folder / path)) for path in files])


def _files(builder: Any, entry: Entry) -> list[str]:
    """The data files of the split, where our readers read them as the builder would; none where it must do so itself."""
    files = [str(path) for path in (builder.config.data_files or {}).get(entry.split, [])]
    default = type(builder.config)()
    given = {key for key, value in vars(builder.config).items() if value != getattr(default, key, None)}
    return files if not given - PLACE_KEYS and all(File(path).suffix in READERS for path in files) else []


class _Prepared:
    """A split as `datasets` makes it: copied into its cache, or streamed."""

    def __init__(self, builder: Any, entry: Entry, config: Config):
        _check_split(entry, builder.info.splits or builder.config.data_files or {})
        self.entry, self.config = entry, config
        self.identity = f"{builder.hash}\0{builder.config.name}\0{entry.split}"
        try:
            if config.streaming:
                self.dataset = builder.as_streaming_dataset(split=entry.split)
            else:
                builder.download_and_prepare()
                _check_split(entry, builder.info.splits or {})
                self.dataset = builder.as_dataset(split=entry.split)
        except DataError:
            raise
        except Exception as error:  # datasets raises errors of many libraries here
            raise _explained(entry, config, error) from error

    def rows(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        place, number = f"{self.entry.location}/{self.entry.split}", 0
        stream = iter(self.dataset)
        while True:
            try:
                row = next(stream)
            except StopIteration:
                return
            except Exception as error:
                raise _explained(self.entry, self.config, error) from error
            number += 1
            yield place, number, row

    def fingerprint(self) -> str:
        """Of the repository's revision, as the builder knows it, and the part of it that is read."""
        return hashlib.blake2b(self.identity.encode(), digest_size=16).hexdigest()


def _builder(entry: Entry, config: Config, path: str) -> Any:
    from datasets import load_dataset_builder

    try:
        builder = load_dataset_builder(
            path,
            name=entry.subset,
            data_dir=entry.folder,
            revision=entry.revision if path == entry.location else None,
            cache_dir=config.cache_dir,
            token=config.secret("hf_hub_token"),
        )
    except Exception as error:  # datasets raises errors of many libraries here
        raise _explained(entry, config, error) from error
    _check_split(entry, builder.info.splits or builder.config.data_files or {})
    return builder


def _wanted(entry: Entry, config: Config) -> Wanted:
    return Wanted(
        name=entry.location,
        kind="dataset",
        revision=entry.revision,
        cache_dir=config.cache_dir,
        token=config.secret("ms_hub_token" if entry.source == "ms_hub_url" else "hf_hub_token"),
    )


def _check_split(entry: Entry, splits: Mapping[str, Any]) -> None:
    names = [str(name) for name in splits]
    if names and entry.split.split("[")[0] not in names and "+" not in entry.split:
        raise DataError(
            f'dataset "{entry.name}": {entry.location} has no split "{entry.split}" (splits: {", ".join(names)}).',
            'Set "split" in dataset_info.json.',
        )


def _explained(entry: Entry, config: Config, error: Exception) -> LuthierError:
    """One error for the many ways in which a hub, a builder or a disk can fail."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    found = list(causes(error))
    of_hub = (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError)
    if any(isinstance(each, of_hub) or "Connect" in type(each).__name__ for each in found) or is_offline():
        return explained(_wanted(entry, config), next((each for each in found if isinstance(each, of_hub)), error))
    at = f'dataset "{entry.name}"'
    last = str(found[-1]).strip() or type(found[-1]).__name__
    if "Dataset scripts are no longer supported" in str(error):
        return DataError(
            f"{at}: {entry.location} is a program, not data files; Luthier runs no code of a repository.",
            'Write its rows to a file once and give "file_name".',
        )
    if isinstance(error, FileNotFoundError):
        return DataError(
            f"{at}: {str(error).splitlines()[0]}", "Check the repository name; log in with `hf auth login` if it is private."
        )
    return DataError(
        f"{at}: {entry.location} cannot be read ({type(found[-1]).__name__}: {last.splitlines()[0]}).",
        "Check subset, folder and split.",
    )


def download_info(repository: str, file_name: str, *, modelscope: bool | None = None) -> Path:
    """dataset_info.json from a hub dataset repository (dataset_dir: REMOTE:<repository>). modelscope: as in hub.fetch."""
    wanted = Wanted(name=repository, kind="dataset", allow=[file_name])
    return fetch(wanted, modelscope=modelscope) / file_name
