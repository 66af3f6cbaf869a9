"""Encoded samples as flat arrays on disk, memory-mapped: memory stays flat however many rows there are.

A store is a folder: ids, labels, weights (only where some differ from 1) hold all tokens end to end; offsets cut them into
segments; every sample has the same number of segments. It is written beside and renamed into place, so a half-written one
is never seen, and several processes may read or build the same store at once.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded, Segment

ARRAYS = {
    "ids": np.int32,
    "labels": np.int32,
    "weights": np.float32,
    "offsets": np.int64,
    "values": np.float32,
    "rows": np.int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedStore:
    """Read access by sample number.

    ids, labels: int32 (all tokens).  weights: float32 (all tokens) or None.  offsets: int64 (segments + 1).
    values: float32 (samples).  rows: int64 (samples), which input each sample was made of (one input may give several).
    supervised: int64 (samples), how many tokens of each sample are learned.
    report: what encoding counted (rows, cut tokens ...), as plain JSON.
    """

    ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    offsets: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    supervised: np.ndarray
    segments_per_sample: int
    report: Mapping[str, Any]

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.segments_per_sample

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample (all its segments), int64 (samples)."""
        return np.diff(self.offsets[:: self.segments_per_sample])

    def segments(self, sample: int) -> list[Segment]:
        first = sample * self.segments_per_sample
        return [self._segment(first + k) for k in range(self.segments_per_sample)]

    def _segment(self, number: int) -> Segment:
        piece = slice(int(self.offsets[number]), int(self.offsets[number + 1]))
        return Segment(
            input_ids=self.ids[piece], labels=self.labels[piece], weights=None if self.weights is None else self.weights[piece]
        )

    def wrapped(self, block: int) -> EncodedStore:
        """The same tokens cut into blocks of `block` tokens whatever the sample borders; the last one may differ.

        For pre-training on documents laid end to end. Only for stores of one segment a sample.
        """
        total = len(self.ids)
        starts = np.arange(0, total, block, dtype=np.int64)
        offsets = np.append(starts[:-1] if total - starts[-1] == 1 else starts, total)  # a lone token would teach nothing
        return EncodedStore(
            ids=self.ids,
            labels=self.labels,
            weights=self.weights,
            offsets=offsets,
            values=np.zeros(len(offsets) - 1, np.float32),
            rows=np.arange(len(offsets) - 1),
            supervised=_supervised(self.labels, offsets),
            segments_per_sample=1,
            report=self.report,
        )

    def subset(self, samples: np.ndarray) -> EncodedSubset:
        return EncodedSubset(self, samples)

    def split(self, held_out: float, seed: int) -> tuple[EncodedSubset, EncodedSubset]:
        """(training, held out): held_out >= 1 is a number of inputs, below 1 a share of them; all samples of one input stay
        together. Raises DataError where nothing would be left to learn from."""
        inputs = np.unique(self.rows)
        count = int(held_out) if held_out >= 1 else max(1, round(len(inputs) * held_out))
        if count >= len(inputs):
            raise DataError(f"val_size {held_out:g} holds out {count} of {len(inputs)} samples.", "Lower val_size.")
        chosen = np.random.Generator(np.random.PCG64(seed)).choice(inputs, count, replace=False)
        out = np.isin(self.rows, chosen)
        return self.subset(np.flatnonzero(~out)), self.subset(np.flatnonzero(out))

    @classmethod
    def open(cls, folder: Path) -> EncodedStore:
        """Raises DataError for a folder that is no store or whose arrays are shorter than they should be."""
        try:
            meta = json.loads((folder / "store.json").read_text(encoding="utf-8"))
            arrays = {name: _map(folder, name, dtype) for name, dtype in ARRAYS.items() if name in meta["sizes"]}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} is no readable token store: {error}", "Delete the folder; it is made again.") from error
        for name, numbers in arrays.items():
            if len(numbers) != meta["sizes"][name]:
                raise DataError(
                    f"{folder / name} holds {len(numbers)} entries, not {meta['sizes'][name]}.",
                    "Delete the folder; it is made again.",
                )
        offsets = arrays["offsets"]
        return cls(
            ids=arrays["ids"],
            labels=arrays["labels"],
            weights=arrays.get("weights"),
            offsets=offsets,
            values=arrays["values"],
            rows=arrays["rows"],
            supervised=_supervised(arrays["labels"], offsets[:: meta["segments_per_sample"]]),
            segments_per_sample=meta["segments_per_sample"],
            report=meta["report"],
        )


class EncodedSubset:
    """Some samples of a store, by number, in the given order; looks like a store to the loader."""

    def __init__(self, store: EncodedStore, samples: np.ndarray):
        self._store = store
        self._samples = samples
        self.segments_per_sample = store.segments_per_sample
        self.lengths = store.lengths[samples]
        self.supervised = store.supervised[samples]
        self.values = store.values[samples]
        self.report = store.report

    def __len__(self) -> int:
        return len(self._samples)

    def segments(self, sample: int) -> list[Segment]:
        return self._store.segments(int(self._samples[sample]))

    def wrapped(self, block: int) -> EncodedStore:
        """EncodedStore.wrapped of these samples alone."""
        pieces = [segment for sample in range(len(self)) for segment in self.segments(sample)]
        ids = np.concatenate([piece.input_ids for piece in pieces])
        labels = np.concatenate([piece.labels for piece in pieces])
        return dataclasses.replace(self._store, ids=ids, labels=labels, weights=None).wrapped(block)


def write_store(folder: Path, encoded: Iterable[tuple[int, Encoded]], report: dict[str, Any]) -> EncodedStore:
    """Write all (input number, sample) pairs, then rename into place. report is saved as it is once they have run out.

    Raises DataError where samples differ in their number of segments or the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        meta = _write_arrays(draft, encoded)
        meta["report"] = report
        (draft / "store.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        _publish(draft, folder)
    except OSError as error:
        raise DataError(
            f"cannot write the token cache {folder}: {error.strerror}.", "Free some disk space or choose another cache_dir."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return EncodedStore.open(folder)


def _write_arrays(draft: Path, encoded: Iterable[tuple[int, Encoded]]) -> dict[str, Any]:
    offsets, values, rows = array("q", [0]), array("f"), array("q")
    per_sample: int | None = None
    weighted = False
    with (draft / "ids").open("wb") as ids, (draft / "labels").open("wb") as labels, (draft / "weights").open("wb") as weights:
        for row, item in encoded:
            if per_sample is None:
                per_sample = len(item.segments)
            elif per_sample != len(item.segments):
                raise DataError(
                    f"one sample has {len(item.segments)} segments, others {per_sample}: they cannot share a batch."
                )
            for segment in item.segments:
                segment.input_ids.astype(np.int32, copy=False).tofile(ids)
                segment.labels.astype(np.int32, copy=False).tofile(labels)
                loss_factor = segment.weights if segment.weights is not None else np.ones(segment.num_tokens, np.float32)
                weighted = weighted or segment.weights is not None
                loss_factor.astype(np.float32, copy=False).tofile(weights)
                offsets.append(offsets[-1] + segment.num_tokens)
            values.append(item.value)
            rows.append(row)
    if not weighted:
        (draft / "weights").unlink()
    for name, numbers in (("offsets", offsets), ("values", values), ("rows", rows)):
        with (draft / name).open("wb") as file:
            numbers.tofile(file)
    sizes = {
        name: (draft / name).stat().st_size // np.dtype(dtype).itemsize
        for name, dtype in ARRAYS.items()
        if (draft / name).exists()
    }
    return {"segments_per_sample": per_sample or 1, "sizes": sizes}


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
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)


def _supervised(labels: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Learned tokens of each stretch; its first token is never predicted, so it never counts. int64 (stretches)."""
    learned = labels != IGNORE_INDEX
    if len(offsets) < 2:
        return np.zeros(0, np.int64)
    starts = offsets[:-1]
    counts = np.add.reduceat(learned, starts, dtype=np.int64) if len(labels) else np.zeros(len(starts), np.int64)
    return counts - learned[starts]
