"""Files that are whole or not there, and disk errors in words.

What enters: a path and its new content. What leaves: the file, replaced in one step.
It never leaves half a file under the final name, and never lets "no space left" pass as a bare OSError.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.errors import ConfigError, LuthierError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def size_text(num_bytes: float) -> str:
    """1536 -> "1.5 KB"; units of 1024."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(num_bytes) < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TB"


def free_bytes(path: Path) -> int:
    """Free space of the disk that holds path or its nearest existing parent."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


@contextmanager
def disk_errors(path: Path, num_bytes: int) -> Iterator[None]:
    """Turn the system's error while writing num_bytes to path into a LuthierError with the numbers."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise LuthierError(
                f"the disk is full: {path} needed {size_text(num_bytes)}, {size_text(free_bytes(path))} are free.",
                "Free some space (old checkpoints are the usual cause; save_total_limit keeps fewer) "
                "or choose another output_dir, then go on with resume_from_checkpoint=auto.",
            ) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise LuthierError(f"cannot write {path}: {error.strerror}.", "Choose a folder that you may write to.") from error
        raise


def write_atomic(path: Path, data: bytes | str, durable: bool = True) -> None:
    """Replace path by data in one step. durable: wait until it is on the disk, so that it survives a power cut."""
    content = data.encode() if isinstance(data, str) else data
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with disk_errors(path, len(content)):
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def require_writable(folder: Path, key: str) -> None:
    """Raise ConfigError unless a file can be made in folder, which need not exist yet. key: the setting that named it."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ConfigError(f"{key} {folder} cannot be made: {existing} is a file.", f"Choose another {key}.")
    probe = existing / f".luthier-{os.getpid()}"
    try:
        with disk_errors(folder, 1):
            probe.write_bytes(b"1")
            probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{key} {folder} cannot be written: {error.strerror} ({existing}).", f"Choose another {key}."
        ) from error


def append_line(path: Path, line: bytes) -> None:
    """Add one line. A torn last line, left by a killed process, is ended first; a failed write leaves the file as it was."""
    with disk_errors(path, len(line) + 1), path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        else:
            torn = False
        data = (b"\n" if torn else b"") + line + b"\n"
        try:
            written = file.write(data)
            while written < len(data):  # a short write: the next one says why
                written += file.write(data[written:])
        except OSError:
            if path.is_file():
                file.truncate(size)
            raise
