"""Datasets to token stores: read, render, tokenise, cut, count; done once, and read from disk ever after.

A store is keyed by the content of the data, the template, the tokenizer and the keys that matter, so a second start finds it
whatever else has changed, and a changed file or key never finds a stale one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.batches.store import EncodedStore, write_store
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import DataError, TemplateError
from luthier.runtime.pointers import cache_folder
from luthier.types import Encoded, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.datasets import SampleSet
    from luthier.stages.base import Stage
    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

KEYS = ("cutoff_len", "overflow", "mask_history", "train_on_prompt", "packing", "neat_packing", "on_bad_row")
"""The config keys that change what a stage makes of a sample (the data's own keys are in its fingerprint)."""

VERSION = 1
"""Raised when the same input gives other tokens than before."""


def encode_dataset(
    config: Config,
    names: Sequence[str] | None,
    stage: Stage,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    *,
    part: str = "train",
) -> EncodedStore:
    """The store of the given dataset names (None: config.dataset). part: subfolder of tokenized_path.

    Raises DataError where no sample is left, and where tokenized_path holds other data than is asked for.
    """
    samples = read_samples(config, names, wants=stage.sample)
    identity = _identity(config, samples, stage, template, tokenizer)
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:32]
    folder = Path(config.tokenized_path) / part if config.tokenized_path else cache_folder() / "tokens" / fingerprint
    if (folder / "store.json").exists() and not config.overwrite_cache:
        store = EncodedStore.open(folder)
        if store.report["fingerprint"] == fingerprint:
            logger.info("tokens of %s read from %s", ", ".join(_names(samples)), folder)
            _tell(store)
            return store
        raise DataError(
            f"tokenized_path {folder} was made with other settings: {_difference(store, identity)}.",
            "Name another tokenized_path, or replace it with overwrite_cache: true.",
        )
    report: dict[str, Any] = {"fingerprint": fingerprint, "identity": identity}
    store = write_store(folder, _encoded(config, samples, stage, template, report), report)
    if not len(store):
        raise _nothing_left(config, samples, store)
    _tell(store)
    return store


def _identity(
    config: Config, samples: SampleSet, stage: Stage, template: Template, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "data": samples.fingerprint(),
        "stage": stage.name,
        "template": dict(template.describe()),
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:32],
        **{key: getattr(config, key) for key in KEYS},
    }


def _names(samples: SampleSet) -> list[str]:
    return [one.entry.name for one in samples.sets]


def _difference(store: EncodedStore, identity: dict[str, Any]) -> str:
    before = store.report["identity"]
    return ", ".join(key for key in identity if before.get(key) != identity[key]) or "unknown"


def _encoded(
    config: Config, samples: SampleSet, stage: Stage, template: Template, report: dict[str, Any]
) -> Iterator[tuple[int, Encoded]]:
    counts = dict.fromkeys(("samples", "stored", "tokens", "cut_samples", "cut_tokens", "left_out", "unrenderable"), 0)
    stream = iter(samples)
    while group := list(islice(stream, config.preprocessing_batch_size)):
        for pieces in _encode_group(config, stage, template, group, counts):
            counts["samples"] += 1
            counts["left_out"] += not pieces
            counts["cut_samples"] += any(piece.cut_tokens for piece in pieces)
            counts["cut_tokens"] += sum(piece.cut_tokens for piece in pieces)
            counts["stored"] += len(pieces)
            counts["tokens"] += sum(piece.num_tokens for piece in pieces)
            for piece in pieces:
                yield counts["samples"] - 1, piece
    report |= counts | {"datasets": _names(samples), "rows": str(samples.counts)}
    if samples.counts.skipped or samples.counts.notes:
        logger.warning("%s", "\n".join([str(samples.counts), *samples.counts.notes]))


def _encode_group(
    config: Config, stage: Stage, template: Template, group: Sequence[Sample], counts: dict[str, int]
) -> Iterator[list[Encoded]]:
    try:
        yield from stage.encode(group, template)
    except TemplateError:
        if config.on_bad_row == "error":
            raise
        for sample in group:
            try:
                yield from stage.encode([sample], template)
            except TemplateError as error:
                counts["unrenderable"] += 1
                logger.warning("skipped: %s", error.message)


def _nothing_left(config: Config, samples: SampleSet, store: EncodedStore) -> DataError:
    report = store.report
    return DataError(
        f"nothing is left to learn from {', '.join(_names(samples))}: {report['left_out']} of {report['samples']} are left out "
        f"(longer than cutoff_len {config.cutoff_len}, or without a learned token).",
        "Raise cutoff_len, or look at the data with: luthier data inspect",
    )


def _tell(store: EncodedStore) -> None:
    """Nothing is lost in silence."""
    report = store.report
    if report["cut_samples"]:
        whole = report["tokens"] + report["cut_tokens"]
        logger.warning(
            "%d of %d samples (%.1f %%) were longer than cutoff_len; %d of %d tokens (%.1f %%) were cut. "
            "Raise cutoff_len to keep them.",
            report["cut_samples"],
            report["samples"],
            100 * report["cut_samples"] / max(1, report["samples"]),
            report["cut_tokens"],
            whole,
            100 * report["cut_tokens"] / max(1, whole),
        )
    if report["left_out"]:
        logger.warning(
            "%d of %d samples were left out: too long, or nothing in them is learned.", report["left_out"], report["samples"]
        )
    if report["unrenderable"]:
        logger.warning("%d samples cannot be written in this template and were skipped.", report["unrenderable"])
