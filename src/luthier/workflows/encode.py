"""Datasets to token stores: read, render, tokenise, cut, count; done once, and read from disk ever after.

A store is keyed by the content of the data, the template, the tokenizer and the keys that matter, so a second start finds it
whatever else has changed, and a changed file or key never finds a stale one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from luthier.batches.flat import Flat
from luthier.batches.store import EncodedStore, write_flat
from luthier.config import Config
from luthier.datasets import read_samples
from luthier.errors import DataError
from luthier.runtime.pointers import cache_folder
from luthier.types import Sample
from luthier.workflows.encode_group import GroupEncoder, encode_groups

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.datasets import SampleSet
    from luthier.stages.base import Stage
    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

KEYS = ("cutoff_len", "overflow", "mask_history", "train_on_prompt", "packing", "neat_packing", "on_bad_row")
"""The config keys that change what a stage makes of a sample (the data's own keys are in its fingerprint)."""

VERSION = 2
"""Raised when the same input gives other tokens, or another store, than before."""

COUNTED = ("samples", "stored", "tokens", "cut_samples", "cut_tokens", "left_out", "unrenderable")
SHOWN_COMPLAINTS = 5


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
    identity, fingerprint = identify(config, samples, stage, template, tokenizer)
    folder = Path(config.tokenized_path) / part if config.tokenized_path else cache_folder() / "tokens" / fingerprint
    with one_at_a_time(folder):
        if (folder / "store.json").exists() and not config.overwrite_cache:
            store = _kept(folder, samples, identity, fingerprint)
        else:
            report: dict[str, Any] = {"fingerprint": fingerprint, "identity": identity}
            encoder = GroupEncoder(stage, template, skips=config.on_bad_row == "skip")
            store = write_flat(folder, _encoded_set(config, encoder, samples, report), report)
    if not len(store):
        raise nothing_left(config, store)
    tell(store)
    return store


def identify(
    config: Config, samples: SampleSet, stage: Stage, template: Template, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, Any], str]:
    """Everything that decides which tokens come out, and its hash."""
    identity = {
        "version": VERSION,
        "data": samples.fingerprint(),
        "stage": stage.name,
        "template": dict(template.describe()),
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:32],
        **{key: getattr(config, key) for key in KEYS},
    }
    written = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return identity, hashlib.sha256(written.encode()).hexdigest()[:32]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Of several processes that want the same store, one makes it while the others wait and then read it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        logger.info("waiting for another process that is making %s", folder)
        lock.acquire()
    except (OSError, NotImplementedError):  # a file system without locks: both make it, the last one to be done stands
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _kept(folder: Path, samples: SampleSet, identity: dict[str, Any], fingerprint: str) -> EncodedStore:
    """The store that is there already."""
    store = EncodedStore.open(folder)
    if store.report["fingerprint"] != fingerprint:
        before = store.report["identity"]
        difference = ", ".join(key for key in identity if before.get(key) != identity[key]) or "unknown"
        raise DataError(
            f"tokenized_path {folder} was made with other settings: {difference}.",
            "Name another tokenized_path, or replace it with overwrite_cache: true.",
        )
    logger.info("tokens of %s read from %s", ", ".join(names_of(samples)), folder)
    return store


def names_of(samples: SampleSet) -> list[str]:
    return [one.entry.name for one in samples.sets]


def _encoded_set(config: Config, encoder: GroupEncoder, samples: SampleSet, report: dict[str, Any]) -> Iterator[Flat]:
    yield from encoded(config, encoder, samples, report)
    report["reading"] = [str(samples.counts), *samples.counts.notes] if samples.counts.skipped or samples.counts.notes else []


def encoded(config: Config, encoder: GroupEncoder, samples: Iterable[Sample], report: dict[str, Any]) -> Iterator[Flat]:
    """The samples as arrays. report receives the counts when they have run out."""
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    workers = config.preprocessing_num_workers or 1
    for outcome in encode_groups(encoder, samples, config.preprocessing_batch_size, workers):
        for complaint in outcome.complaints[: max(0, SHOWN_COMPLAINTS - counts["unrenderable"])]:
            logger.warning("skipped: %s", complaint)
        counts.update(outcome.counts)
        if outcome.flat is not None:
            yield outcome.flat
    report |= counts


def nothing_left(config: Config, store: EncodedStore) -> DataError:
    report = store.report
    return DataError(
        f"nothing is left to learn from: {report['left_out']} of {report['samples']} samples are left out "
        f"(longer than cutoff_len {config.cutoff_len}, or without a learned token).",
        "Raise cutoff_len, or look at the data with: luthier data inspect",
    )


def tell(store: EncodedStore, level: int = logging.WARNING) -> None:
    """Nothing is lost in silence: how many samples and tokens were touched is always said."""
    report = store.report
    if report.get("reading"):
        logger.log(level, "%s", "\n".join(report["reading"]))
    samples, whole = report["samples"], report["tokens"] + report["cut_tokens"]
    if not report["cut_samples"]:
        logger.info("none of %s samples (%s tokens) is longer than cutoff_len", f"{samples:,}", f"{whole:,}")
    else:
        logger.log(
            level,
            "%s of %s samples (%.1f %%) were longer than cutoff_len; %s of %s tokens (%.1f %%) were cut. "
            "Raise cutoff_len to keep them.",
            f"{report['cut_samples']:,}",
            f"{samples:,}",
            100 * report["cut_samples"] / max(1, samples),
            f"{report['cut_tokens']:,}",
            f"{whole:,}",
            100 * report["cut_tokens"] / max(1, whole),
        )
    if report["left_out"]:
        logger.log(
            level,
            "%s of %s samples (%.1f %%) were left out: too long, or nothing in them is learned.",
            f"{report['left_out']:,}",
            f"{samples:,}",
            100 * report["left_out"] / max(1, samples),
        )
    if report["unrenderable"]:
        logger.log(level, "%s samples cannot be written in this template and were skipped.", f"{report['unrenderable']:,}")
