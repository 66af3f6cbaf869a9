"""Datasets on Hugging Face or ModelScope, by repository name.

Enters: an Entry with hf_hub_url or ms_hub_url (subset, split, folder, revision). Leaves: rows.
Downloads through `datasets` (Hugging Face) or the ModelScope client, which keep them in their caches.
Never runs code of a repository.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.datasets.info import Entry
from luthier.errors import DataError

if TYPE_CHECKING:
    from luthier.config import Config


class HubSource:
    """Rows of one split. Nothing is asked of the hub before the first row is."""

    def __init__(self, entry: Entry, config: Config):
        self.entry = entry
        self.config = config
        self.loaded = None

    def rows(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        place = f"{self.entry.location}/{self.entry.split}"
        for number, row in enumerate(self._dataset(), start=1):
            yield place, number, row

    def fingerprint(self) -> str:
        """Of the repository's revision, as the builder knows it, and the part of it that is read."""
        self._dataset()
        return hashlib.blake2b(f"{self.revision}\0{self.entry.split}".encode(), digest_size=16).hexdigest()

    def _dataset(self) -> Any:
        if self.loaded is None:
            builder = _builder(self.entry, self.config)
            self.revision = f"{builder.hash}\0{builder.config.name}"
            self.loaded = _load(builder, self.entry, self.config)
        return self.loaded


def _builder(entry: Entry, config: Config) -> Any:
    from datasets import load_dataset_builder

    path, revision = entry.location, entry.revision
    if entry.source == "ms_hub_url":
        path, revision = str(_modelscope_folder(entry, config)), None
    try:
        return load_dataset_builder(
            path,
            name=entry.subset,
            data_dir=entry.folder,
            revision=revision,
            cache_dir=config.cache_dir,
            token=config.hf_hub_token or None,
        )
    except Exception as error:  # datasets raises errors of many libraries here
        raise _explained(entry, error) from None


def _load(builder: Any, entry: Entry, config: Config) -> Any:
    try:
        if config.streaming:
            splits = builder.info.splits or {}
            _check_split(entry, splits)
            return builder.as_streaming_dataset(split=entry.split)
        builder.download_and_prepare()
        _check_split(entry, builder.info.splits or {})
        return builder.as_dataset(split=entry.split)
    except DataError:
        raise
    except Exception as error:
        raise _explained(entry, error) from None


def _check_split(entry: Entry, splits: Mapping[str, Any]) -> None:
    if splits and entry.split.split("[")[0] not in splits:
        raise DataError(
            f'dataset "{entry.name}": {entry.location} has no split "{entry.split}" (splits: {", ".join(splits)}).',
            'Set "split" in dataset_info.json.',
        )


def _explained(entry: Entry, error: Exception) -> DataError:
    """One DataError for the many ways in which a hub can fail."""
    at = f'dataset "{entry.name}"'
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("HF_DATASETS_OFFLINE")
    remedy = (
        f"Download it where there is a network (hf download {entry.location} --repo-type dataset), "
        'or write its rows to a file and give "file_name".'
    )
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if offline:
        return DataError(
            f"{at}: {entry.location} is not in the cache on this machine, and the hub is offline by HF_HUB_OFFLINE.", remedy
        )
    if isinstance(error, ConnectionError) or "Connection" in type(error).__name__:
        return DataError(f"{at}: {entry.location} cannot be fetched, the hub cannot be reached ({text}).", remedy)
    if "Dataset scripts are no longer supported" in text:
        return DataError(f"{at}: {entry.location} is a program, not data files; Luthier runs no code of a repository.", remedy)
    if isinstance(error, FileNotFoundError):
        return DataError(f"{at}: {text}", "Check the repository name; log in with `hf auth login` if it is private.")
    return DataError(
        f"{at}: {entry.location} cannot be read ({type(error).__name__}: {text}).", "Check subset, folder and split."
    )


def _modelscope_folder(entry: Entry, config: Config) -> Path:
    try:
        from modelscope import dataset_snapshot_download
    except ImportError:
        raise DataError(
            f'dataset "{entry.name}" lies on ModelScope, whose client is not installed.', "pip install modelscope"
        ) from None
    try:
        given = {"revision": entry.revision, "cache_dir": config.cache_dir}
        return Path(dataset_snapshot_download(entry.location, **{key: value for key, value in given.items() if value}))
    except Exception as error:
        raise _explained(entry, error) from None


def download_info(repository: str, file_name: str) -> Path:
    """dataset_info.json from a hub dataset repository (dataset_dir: REMOTE:<repository>)."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file_name, repo_type="dataset"))
    except Exception as error:  # the client's errors are many and change between its versions
        raise DataError(
            f"{file_name} of the hub dataset {repository} cannot be fetched ({type(error).__name__}).",
            "Check the name and the network, or download it and set dataset_dir to its folder.",
        ) from None
