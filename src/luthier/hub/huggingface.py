"""Fetch a repository from Hugging Face (or the mirror that HF_ENDPOINT names) through its own client."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from luthier.errors import LuthierError
from luthier.hub.fetch import Wanted, causes, disk_full, incomplete, is_disk_full, is_offline
from luthier.hub.verify import damaged_files

ATTEMPTS = 2
"""A file whose bytes are not what its hash says is fetched once more before it is an error."""


def download(wanted: Wanted) -> Path:
    """The snapshot folder in the cache, each file verified. Raises wanted's error for whatever the hub or the disk says."""
    for _ in range(ATTEMPTS):
        folder = _snapshot(wanted)
        damaged = damaged_files(folder)
        for file in damaged:
            file.resolve().unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        if not damaged:
            return folder
        if is_offline():
            raise incomplete(wanted, folder, [f"{file.relative_to(folder)} (damaged, now deleted)" for file in damaged])
    names = ", ".join(str(file.relative_to(folder)) for file in damaged)
    raise wanted.error(
        f"{wanted}: {names} came with other bytes than its hash on Hugging Face says, {ATTEMPTS} times; it was deleted.",
        "Something between here and the hub changes files (a proxy, a mirror): try another HF_ENDPOINT.",
    )


def _snapshot(wanted: Wanted) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                wanted.name,
                repo_type=wanted.kind,
                revision=wanted.revision,
                cache_dir=wanted.cache_dir,
                token=wanted.token,
                allow_patterns=None if wanted.allow is None else list(wanted.allow),
                ignore_patterns=None if wanted.ignore is None else list(wanted.ignore),
            )
        )
    except Exception as error:  # the client raises errors of httpx, of the system and of its own
        raise explained(wanted, error) from error


def explained(wanted: Wanted, error: BaseException) -> LuthierError:
    """One sentence and what to do."""
    from huggingface_hub import constants, errors

    cache = Path(wanted.cache_dir or constants.HF_HUB_CACHE).expanduser()
    if is_disk_full(error):
        return disk_full(wanted, cache)
    for each in causes(error):
        if isinstance(each, errors.GatedRepoError):
            return wanted.error(
                f"{wanted} on Hugging Face is gated.",
                f"Accept its terms at https://huggingface.co/{wanted.name} and log in with `hf auth login`, or set HF_TOKEN.",
            )
        if isinstance(each, errors.RepositoryNotFoundError):
            return wanted.error(
                f'"{wanted.name}" is neither a folder here nor a {wanted.kind} on Hugging Face (or it is private).',
                f"Check the spelling; for a private {wanted.kind} log in with `hf auth login`.",
            )
        if isinstance(each, errors.RevisionNotFoundError):
            what = "model_revision" if wanted.kind == "model" else '"revision" in dataset_info.json'
            return wanted.error(f'{wanted} has no revision "{wanted.revision}".', f"Check {what}.")
        if isinstance(each, errors.RemoteEntryNotFoundError):
            return wanted.error(
                f"{wanted} names the file {_file_of(each)}, but Hugging Face does not have it (404).",
                "Try again later, or another revision; its owner may be uploading.",
            )
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status in (401, 403):
            return wanted.error(
                f"Hugging Face refuses to give {wanted} ({status}).",
                "The token is wrong or may not read it: log in with `hf auth login`, or set HF_TOKEN or hf_hub_token.",
            )
        if status:
            return wanted.error(
                f"Hugging Face answers {status} for {wanted}.", "Try again later. What is complete already is kept."
            )
    if isinstance(error, getattr(errors, "IncompleteSnapshotError", ())):
        return incomplete(wanted, Path(error.snapshot_path), _named_in(str(error)))
    if is_offline():
        return wanted.error(
            f"{wanted} is not in the cache on this machine ({cache}), and HF_HUB_OFFLINE is set.",
            f"Fetch it where there is a network (hf download {wanted.name}"
            + (" --repo-type dataset" if wanted.kind == "dataset" else "")
            + ") and copy it, or name a folder.",
        )
    elsewhere = ", or model_name_or_path: starter, which needs no download." if wanted.kind == "model" else "."
    return wanted.error(
        f'"{wanted.name}" is not a folder here, and Hugging Face cannot be reached to fetch it ({type(error).__name__}).',
        f"What is complete already is kept: try again, or give the folder of a downloaded {wanted.kind}{elsewhere}",
    )


def _file_of(error: BaseException) -> str:
    url = str(getattr(getattr(error, "response", None), "url", ""))
    return unquote(re.sub(r".*/resolve/[^/]+/", "", url)) or "?"


def _named_in(message: str) -> list[str]:
    found = re.search(r"missing \(([^)]+)\)", message)
    return found[1].split(", ") if found else ["some files"]
