"""Dataset names to samples: the one way in for everything that trains, evaluates or shows data.

    samples = read_samples(config, wants=stage.sample)
    for sample in samples: ...      # lazy; may be iterated again
    print(samples.counts)           # of the last pass: rows, kept, skipped and why, per dataset

A bad row stops the reading with one DataError that shows the first five and how many there are (on_bad_row: error),
or is counted and left out (on_bad_row: skip). Never drops a row in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import orjson

import luthier
from luthier.datasets.counts import Counts, SetCounts
from luthier.datasets.info import Entry
from luthier.datasets.lookup import find_entry
from luthier.datasets.mix import mix
from luthier.datasets.one_set import OneSet
from luthier.datasets.sources.open import open_source
from luthier.datasets.wants import check_wants
from luthier.errors import ConfigError, DataError
from luthier.hub import prefers_modelscope
from luthier.types import Sample

if TYPE_CHECKING:
    from luthier.config import Config


def read_samples(config: Config, names: Sequence[str] | None = None, *, wants: type[Sample]) -> SampleSet:
    """The samples of config.dataset, or of names, as instances of wants. Opens nothing but dataset_info.json yet.

    Raises DataError for an unknown name, a file that is not there, or a set that cannot give what is wanted.
    """
    names = config.dataset if names is None else names
    if not names:
        raise DataError("no dataset was given.", "Set dataset: a registered name or a path, or several with commas.")
    return samples_of(_entries(config, names), config, wants)


def check_datasets(config: Config, *, wants: type[Sample]) -> None:
    """Raises DataError, which names all of them, where dataset and eval_dataset cannot give what is wanted. Opens nothing but
    dataset_info.json."""
    check_wants(_entries(config, [*(config.dataset or ()), *(config.eval_dataset or ())]), wants)


def _entries(config: Config, names: Sequence[str]) -> list[Entry]:
    modelscope = prefers_modelscope(config.hub)
    return [find_entry(name, config.dataset_dir, modelscope=modelscope) for name in names]


def samples_of(entries: Sequence[Entry], config: Config, wants: type[Sample]) -> SampleSet:
    """The samples of entries that need not be registered anywhere. Raises DataError as read_samples does."""
    _check_weights(config, len(entries))
    check_wants(entries, wants)
    return SampleSet([OneSet(entry, open_source(entry, config), config, wants) for entry in entries], config)


class SampleSet:
    """Samples of one or more datasets, mixed as the config says. Iterating reads the files anew and resets counts."""

    def __init__(self, sets: list[OneSet], config: Config):
        self.sets = sets
        self.config = config
        self.counts = Counts()
        self.seed = config.seed if config.data_seed is None else config.data_seed

    def __iter__(self) -> Iterator[Sample]:
        self.counts = Counts()
        starts = [partial(_start, one, self.counts.add(one.entry.name)) for one in self.sets]
        yield from mix(starts, self.config.mix_strategy, self.config.interleave_probs, self.seed)

    def fingerprint(self) -> str:
        """A hash of everything that decides which samples come out: bytes of the files, entries, sampling, mixing."""
        config = self.config
        parts = {
            "version": luthier.__version__,
            "sets": [one.fingerprint() for one in self.sets],
            "mix": [config.mix_strategy, config.interleave_probs, self.seed if config.interleave_probs else None],
        }
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def _check_weights(config: Config, count: int) -> None:
    weights = config.interleave_probs
    if config.mix_strategy == "concat" or count < 2 or weights is None:
        return
    if len(weights) != count or min(weights) <= 0:
        raise ConfigError(f"interleave_probs is {weights} for {count} datasets.", "Give each dataset one weight above 0.")


def _start(one: OneSet, counts: SetCounts) -> Iterator[Sample]:
    """A pass over one set. Only the first is counted: interleave_over begins short sets again."""
    return one.samples(counts if not counts.rows else SetCounts(counts.dataset))
