"""Fetch a repository from ModelScope (or the server that MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN names) through its client.

The client compares each file with its SHA-256 and goes on with files that were cut off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.errors import LuthierError
from luthier.hub.fetch import Wanted, causes, disk_full, is_disk_full, is_offline


def download(wanted: Wanted) -> Path:
    """The snapshot folder in the cache. Raises wanted's error for whatever the hub or the disk says."""
    try:
        from modelscope_hub import HubApi
    except ImportError:
        raise wanted.error("ModelScope was asked for, but its client is not installed.", "pip install modelscope-hub") from None
    api = HubApi(token=wanted.token)
    try:
        return Path(_repository(api, wanted, local=is_offline()))
    except Exception as error:  # the client raises errors of requests, of the system and of its own
        if _is_unreachable(error):
            try:
                return Path(_repository(api, wanted, local=True))
            except Exception:  # nothing is kept here either: what went wrong first is what to tell
                raise explained(wanted, error) from error
        raise explained(wanted, error) from error


def _repository(api: Any, wanted: Wanted, *, local: bool) -> str:
    return api.download_repo(
        wanted.name,
        wanted.kind,
        revision="master" if wanted.revision in (None, "main") else wanted.revision,  # its name of the default branch
        cache_dir=wanted.cache_dir,
        allow_patterns=None if wanted.allow is None else list(wanted.allow),
        ignore_patterns=None if wanted.ignore is None else list(wanted.ignore),
        local_files_only=local,
    )


def _is_unreachable(error: BaseException) -> bool:
    from modelscope_hub import errors

    return isinstance(error, errors.NetworkError)


def explained(wanted: Wanted, error: BaseException) -> LuthierError:
    """One sentence and what to do."""
    from modelscope_hub import errors
    from modelscope_hub.config import HubConfig

    cache = Path(wanted.cache_dir or HubConfig().cache_dir)
    if is_disk_full(error):
        return disk_full(wanted, cache)
    files = ", ".join(getattr(error, "failed_files", {}))
    for each in causes(error):
        if isinstance(each, errors.FileIntegrityError):
            return wanted.error(
                f"{wanted}: {files or 'a file'} came with other bytes than its hash on ModelScope says.",
                "Try again; something between here and the hub may change files (a proxy, a mirror).",
            )
        if isinstance(each, (errors.AuthenticationError, errors.PermissionDeniedError)):
            return wanted.error(
                f"ModelScope refuses to give {wanted} ({_status(each)}).",
                "Log in with `modelscope login --token TOKEN`, or set MODELSCOPE_API_TOKEN or ms_hub_token.",
            )
        if isinstance(each, errors.NotExistError) and files:
            return wanted.error(
                f"{wanted} names the file {files}, but ModelScope does not have it (404).",
                "Try again later, or another revision; its owner may be uploading.",
            )
        if isinstance(each, errors.NotExistError):
            return wanted.error(
                f'"{wanted.name}" is neither a folder here nor a {wanted.kind} on ModelScope (or it is private).',
                f"Check the spelling and the revision; for a private {wanted.kind} log in with `modelscope login`.",
            )
    if is_offline():
        return wanted.error(
            f"{wanted} is not in the cache on this machine ({cache}), and HF_HUB_OFFLINE is set.",
            f"Fetch it where there is a network (modelscope download {wanted.name}) and copy it, or name a folder.",
        )
    return wanted.error(
        f'"{wanted.name}" could not be fetched from ModelScope ({type(error).__name__}{f": {files}" if files else ""}).',
        "Check the network and try again: what is complete already is kept.",
    )


def _status(error: BaseException) -> Any:
    return getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", "no right")
