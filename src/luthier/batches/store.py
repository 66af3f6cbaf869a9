"""Encoded samples as flat arrays on disk, memory-mapped: memory stays flat however many rows there are.

A store is a folder: ids, learned, weights (only where some differ from 1) hold all tokens end to end; offsets cut them into
segments; every sample has the same number of segments. It is written beside and renamed into place, so a half-written one
is never seen, and several processes may read the same store at once.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from luthier.batches.flat import Flat, flat
from luthier.batches.views import EncodedSubset, Tokens
from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded, Segment

__all__ = ["EncodedStore", "EncodedSubset", "write_flat", "write_store"]

ARRAYS = {
    "ids": np.int32,
    "learned": np.bool_,
    "weights": np.float32,
    "offsets": np.int64,
    "lengths": np.int64,
    "supervised": np.int64,
    "values": np.float32,
    "rows": np.int64,
}
WRITTEN_TOGETHER = 512


class EncodedStore(Tokens):
    """A folder's arrays: ids, learned, weights (all tokens; weights may be None), offsets (segments + 1), and Tokens'."""

    def __init__(self, arrays: Mapping[str, np.ndarray], segments_per_sample: int, report: Mapping[str, Any]):
        self._ids, self._learned, self._weights = arrays["ids"], arrays["learned"], arrays.get("weights")
        self._offsets = arrays["offsets"]
        self.lengths, self.supervised = arrays["lengths"], arrays["supervised"]
        self.values, self.rows = arrays["values"], arrays["rows"]
        self.segments_per_sample = segments_per_sample
        self.report = report

    def segments(self, sample: int) -> list[Segment]:
        first = sample * self.segments_per_sample
        return [self._segment(first + k) for k in range(self.segments_per_sample)]

    def _segment(self, number: int) -> Segment:
        piece = slice(int(self._offsets[number]), int(self._offsets[number + 1]))
        ids = self._ids[piece]
        return Segment(
            input_ids=ids,
            labels=np.where(self._learned[piece], ids, np.int32(IGNORE_INDEX)),
            weights=None if self._weights is None else self._weights[piece],
        )

    @classmethod
    def open(cls, folder: Path) -> EncodedStore:
        """Raises DataError for a folder that is no store or whose arrays are shorter than they should be."""
        try:
            meta = json.loads((folder / "store.json").read_text(encoding="utf-8"))
            arrays = {name: _map(folder, name, ARRAYS[name]) for name in meta["sizes"]}
            missing = ARRAYS.keys() - arrays.keys() - {"weights"}
            if missing:
                raise ValueError(f"{', '.join(sorted(missing))} is missing (it was made by another version)")
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} is no readable token store: {error}", "Delete the folder; it is made again.") from error
        for name, numbers in arrays.items():
            if len(numbers) != meta["sizes"][name]:
                raise DataError(
                    f"{folder / name} holds {len(numbers)} entries, not {meta['sizes'][name]}.",
                    "Delete the folder; it is made again.",
                )
        return cls(arrays, meta["segments_per_sample"], meta["report"])


def write_store(folder: Path, encoded: Iterable[tuple[int, Encoded]], report: dict[str, Any]) -> EncodedStore:
    """Write all (input number, sample) pairs, then rename into place. report is saved as it is once they have run out.

    Raises DataError where samples differ in their number of segments or the disk is full.
    """
    stream = iter(encoded)
    return write_flat(folder, map(flat, iter(lambda: list(islice(stream, WRITTEN_TOGETHER)), [])), report)


def write_flat(folder: Path, groups: Iterable[Flat], report: dict[str, Any]) -> EncodedStore:
    """write_store of samples that are flat arrays already."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        per_sample = _write_arrays(draft, groups)
        sizes = {path.name: path.stat().st_size // np.dtype(ARRAYS[path.name]).itemsize for path in draft.iterdir()}
        meta = {"segments_per_sample": per_sample, "sizes": sizes, "report": report}
        (draft / "store.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        _publish(draft, folder)
    except OSError as error:
        raise DataError(
            f"cannot write the token cache {folder}: {error.strerror}.",
            "Free some disk space, or let it lie elsewhere: tokenized_path: FOLDER.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return EncodedStore.open(folder)


def _write_arrays(draft: Path, groups: Iterable[Flat]) -> int:
    """Write every array; returns the number of segments of each sample."""
    per_sample: int | None = None
    with ExitStack() as stack:
        files = {name: stack.enter_context((draft / name).open("wb")) for name in ARRAYS if name != "weights"}
        _put(files["offsets"], [0], "offsets")
        written = 0
        for group in groups:
            per_sample = per_sample or group.segments_per_sample
            if group.segments_per_sample != per_sample:
                raise DataError(f"samples of {per_sample} and {group.segments_per_sample} segments cannot share a batch.")
            if group.weights is not None and "weights" not in files:
                files["weights"] = stack.enter_context((draft / "weights").open("wb"))
                _put_ones(files["weights"], written)
            _append(files, group, written)
            written += len(group.ids)
    return per_sample or 1


def _append(files: Mapping[str, BinaryIO], group: Flat, written: int) -> None:
    """written: tokens that the files hold already."""
    for name in ("ids", "learned", "lengths", "supervised", "values", "rows"):
        _put(files[name], getattr(group, name), name)
    _put(files["offsets"], written + np.cumsum(group.segment_lengths), "offsets")
    if "weights" in files:
        _put(files["weights"], np.ones(len(group.ids)) if group.weights is None else group.weights, "weights")


def _put(file: BinaryIO, numbers: Sequence[float] | np.ndarray, name: str) -> None:
    file.write(np.ascontiguousarray(numbers, ARRAYS[name]).data)


def _put_ones(file: BinaryIO, count: int) -> None:
    """The weights of the tokens that were written before the first one with a weight of its own."""
    for start in range(0, count, 1 << 20):
        _put(file, np.ones(min(1 << 20, count - start)), "weights")


def _publish(draft: Path, folder: Path) -> None:
    """Rename the draft into place; where another process was first, its store stands."""
    draft.chmod(0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        folder.replace(old / "store")
        shutil.rmtree(old, ignore_errors=True)
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "store.json").exists():
            raise


def _map(folder: Path, name: str, dtype: type) -> np.ndarray:
    path = folder / name
    return np.asarray(np.memmap(path, dtype=dtype, mode="r")) if path.stat().st_size else np.empty(0, dtype)
