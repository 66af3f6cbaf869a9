"""Helpers of the dataset tests: rows to files, and reading them in one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.config import Config
from luthier.datasets import SampleSet, read_samples
from luthier.types import Conversation


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write("a.jsonl", rows) or write("a.json", rows) or write("a.txt", "text") -> path."""

    def write_file(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")
        else:
            path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., SampleSet]:
    """read(info, wants=..., **config keys): the sets of a dataset_info dict with files in tmp_path; all unless names."""

    def read_sets(info: dict[str, Any], names: list[str] | None = None, *, wants=Conversation, **keys: Any) -> SampleSet:
        (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
        config = Config(dataset=names or list(info), dataset_dir=str(tmp_path), **keys)
        return read_samples(config, wants=wants)

    return read_sets
