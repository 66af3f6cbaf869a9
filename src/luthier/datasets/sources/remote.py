"""Files behind a URL: http, https, s3, gs and whatever else fsspec speaks (its package for the protocol must be there)."""

from __future__ import annotations

import glob
from collections.abc import Callable
from typing import Any, BinaryIO

from luthier.datasets.sources.file import File
from luthier.errors import DataError

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp requests", "https": "aiohttp requests", "az": "adlfs"}
CONTENT_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "crc32c", "blob_id")


def open_url(url: str) -> BinaryIO:
    """The bytes behind url. Raises DataError naming it."""
    return _asked(url, lambda fs, path: fs.open(path, "rb"))


def find_remote_files(url: str, encoding: str | None, known: Callable[[File], bool]) -> list[File]:
    """The files that url means: one file, a folder or a glob. known: which files are data files."""

    def listing(fs: Any, path: str) -> list[str]:
        if glob.has_magic(path):
            return sorted(fs.glob(path))
        return sorted(fs.find(path)) if url.endswith("/") or fs.isdir(path) else [path]

    protocol = url.split("://")[0]
    paths = _asked(url, listing)
    files = [File(path if "://" in path else f"{protocol}://{path.lstrip('/')}", encoding) for path in paths]
    files = files if len(files) == 1 else [file for file in files if known(file)]
    if not files:
        raise DataError(f"{url} holds no data file.", "Check the address.")
    return files


def content_tag(url: str) -> str | None:
    """What the server says identifies the content (an ETag or a checksum), None where it says nothing."""
    info = _asked(url, lambda fs, path: fs.info(path))
    return next((f"{tag}:{info[tag]}:{info.get('size')}" for tag in CONTENT_TAGS if info.get(tag)), None)


def _asked(url: str, ask: Callable[[Any, str], Any]) -> Any:
    from fsspec.core import url_to_fs

    protocol = url.split("://")[0]
    try:
        fs, path = url_to_fs(url)
        return ask(fs, path)
    except ImportError:
        package = PACKAGES.get(protocol, f"an fsspec package for {protocol}")
        raise DataError(f"{url} cannot be read: {protocol}:// needs {package}.", f"pip install {package}") from None
    except FileNotFoundError:
        raise DataError(f"{url} does not exist.", "Check the address.") from None
    except PermissionError as error:
        raise DataError(f"{url} may not be read: {error}.", "Log in, or check the access rights.") from None
    except Exception as error:  # every protocol package has errors of its own
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{url} cannot be read ({type(error).__name__}: {error}).", "Check the address and the network."
        ) from None
