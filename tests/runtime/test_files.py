"""Files are whole or not there."""

import os
from pathlib import Path

import pytest

from luthier.errors import LuthierError
from luthier.runtime.files import append_line, size_text, write_atomic


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, "one")
    write_atomic(file, b"two")
    assert file.read_text() == "two" and list(tmp_path.iterdir()) == [file]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, "old")

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(LuthierError, match=r"the disk is full: .*status.json needed 3 B"):
        write_atomic(file, "new")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_append_line_ends_a_torn_line_first(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    append_line(file, b"1")
    file.write_bytes(b"1\n2 and a ha")
    append_line(file, b"3")
    assert file.read_bytes() == b"1\n2 and a ha\n3\n"


def test_size_text() -> None:
    assert [size_text(n) for n in (0, 1023, 1536, 5 * 1024**3)] == ["0 B", "1023 B", "1.5 KB", "5.0 GB"]
