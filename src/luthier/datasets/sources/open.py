"""From an Entry to the source that gives its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.datasets.base import Source
from luthier.datasets.info import Entry
from luthier.datasets.sources import READERS
from luthier.datasets.sources.file import File
from luthier.datasets.sources.local import FilesSource, find_files

if TYPE_CHECKING:
    from luthier.config import Config


def open_source(entry: Entry, config: Config) -> Source:
    """The rows of entry. Raises DataError when there is nothing where it points."""
    if entry.source in ("hf_hub_url", "ms_hub_url"):
        from luthier.datasets.sources.hub import HubSource

        return HubSource(entry, config)
    files = files_at(entry.location, entry.base, entry.encoding, f'dataset "{entry.name}"')
    return FilesSource(files, spot_check=config.streaming)


def files_at(location: str, base: str, encoding: str | None, at: str) -> list[File]:
    """The files of a path, folder or glob (relative to base), or of a URL. at: which dataset asks. DataError for none."""
    if "://" in location:
        from luthier.datasets.sources.remote import find_remote_files

        return find_remote_files(location, encoding, lambda file: file.suffix in READERS)
    return find_files(location, base, encoding, at)
