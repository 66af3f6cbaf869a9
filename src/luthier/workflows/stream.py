"""`streaming: true`: samples to windows of token ids, made while the training runs; the data is never read as a whole.

Enters: a configuration, a stage and a template. Leaves: a StreamLoader, and a small store of the first val_size samples.
buffer_size samples make a window, and are shuffled and packed together.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from luthier.batches.store import EncodedStore, write_flat
from luthier.batches.stream import StreamLoader
from luthier.config import Config
from luthier.datasets import SampleSet, read_samples
from luthier.errors import ConfigError, DataError
from luthier.runtime.pointers import cache_folder
from luthier.types import Sample
from luthier.workflows.encode import COUNTED, identify, nothing_left, one_at_a_time, tell
from luthier.workflows.encode_group import GroupEncoder, encode_groups

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from luthier.batches.flat import Flat
    from luthier.batches.stream import Arrange
    from luthier.stages.base import Stage
    from luthier.templates.base import Template

logger = logging.getLogger(__name__)

WINDOW_TOKENS = 2**25
"""A window of long documents ends here (170 MB on disk), however few they are."""
PROBED = 1000
"""From so many first samples of a window it is known how long its samples are."""


@dataclass(kw_only=True)
class Stream:
    """The data of a training that streams. held_out: how many samples at the beginning are not learned.

    Reads on where it stands when windows are asked for in order; begins again at the front for one that lies before.
    """

    config: Config
    samples: SampleSet
    encoder: GroupEncoder
    fingerprint: str
    held_out: int = 0

    def __post_init__(self) -> None:
        self._reading: Iterator[Sample] | None = None
        self._at = self._skipped = 0

    def loader(self, arrange: Arrange, samples_per_step: int) -> StreamLoader:
        config = self.config
        key = json.dumps([str(Path(config.output_dir).absolute()), self.fingerprint, samples_per_step])
        folder = cache_folder() / "streams" / hashlib.sha256(key.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return StreamLoader(
            self._maker(samples_per_step),
            arrange,
            folder=folder,
            first_sample=self.held_out,
            samples_per_step=samples_per_step,
            total_steps=config.max_steps,
            seed=config.seed if config.data_seed is None else config.data_seed,
            shuffle=not config.disable_shuffling,
        )

    def first(self, count: int) -> EncodedStore:
        """The first count samples, which are held out, as a store of their own."""
        return self._written(cache_folder() / "streams" / f"{self.fingerprint}-{count}", 0, self._held_out)

    def _maker(self, samples_per_step: int) -> Callable[[int, Path, Event], EncodedStore]:
        def make(first_sample: int, folder: Path, no_longer_wanted: Event) -> EncodedStore:
            def groups(report: dict[str, Any]) -> Iterator[Flat]:
                return self._window(first_sample, samples_per_step, report, no_longer_wanted)

            return self._written(folder, first_sample, groups)

        return make

    def _written(self, folder: Path, first_sample: int, groups: Callable[[dict[str, Any]], Iterator[Flat]]) -> EncodedStore:
        """Made, or what this or another rank has made already."""
        with one_at_a_time(folder):
            if (folder / "store.json").exists():
                store = EncodedStore.open(folder)
                if store.report["fingerprint"] == self.fingerprint:
                    return store
            report: dict[str, Any] = {"fingerprint": self.fingerprint}
            store = write_flat(folder, groups(report), report)
        if not len(store) and first_sample in (0, self.held_out):
            raise nothing_left(self.config, store)
        tell(store, logging.WARNING if first_sample == self.held_out else logging.INFO)
        return store

    def _held_out(self, report: dict[str, Any]) -> Iterator[Flat]:
        group = list(islice(self.samples, self.held_out))
        if len(group) < self.held_out:
            raise DataError(f"val_size {self.held_out} holds out all of {len(group)} samples.", "Lower val_size.")
        outcome = self.encoder(group, 0)
        report |= outcome.counts
        if outcome.flat is not None:
            yield outcome.flat

    def _window(
        self, first_sample: int, samples_per_step: int, report: dict[str, Any], no_longer_wanted: Event
    ) -> Iterator[Flat]:
        """Groups until the window is full or the data has run out."""
        counts = Counter(dict.fromkeys(COUNTED, 0))
        group, workers = self.config.preprocessing_batch_size, self.config.preprocessing_num_workers or 1
        self._seek(first_sample)
        while wanted := self._wanted(counts, samples_per_step):
            before = counts["samples"]
            for outcome in encode_groups(self.encoder, islice(self._reading, wanted), group, workers):
                if no_longer_wanted.is_set():
                    raise CancelledError
                counts.update(outcome.counts)
                if outcome.flat is not None:
                    yield outcome.flat
            self._at += counts["samples"] - before
            if counts["samples"] - before < wanted:  # the data has run out
                self._reading = None
                break
        report |= counts | {"next_sample": self.held_out if self._reading is None else self._at}
        read = self.samples.counts
        if read.skipped > self._skipped:
            logger.warning("%s", read)
        self._skipped = read.skipped

    def _wanted(self, counts: Counter[str], samples_per_step: int) -> int:
        """How many samples to read next. A window ends with a whole step, where single samples are the units of steps."""
        stored, tokens, size = counts["stored"], counts["tokens"], self.config.buffer_size
        if stored >= size or tokens >= WINDOW_TOKENS:
            return -stored % samples_per_step
        if not stored:
            return min(size, PROBED)
        return min(size - stored, (WINDOW_TOKENS - tokens) * stored // tokens + 1)

    def _seek(self, sample: int) -> None:
        """Stand before this sample of the data."""
        if self._reading is None or self._at > sample:
            self._reading, self._at = iter(self.samples), 0
        self._at += sum(1 for _ in islice(self._reading, sample - self._at))


def open_stream(config: Config, stage: Stage, template: Template, tokenizer: PreTrainedTokenizerBase) -> Stream:
    """Nothing is read yet but what names the data. Raises ConfigError for a key that needs all of the data beforehand."""
    if config.precompute_ref_log_probs:
        raise ConfigError(
            "precompute_ref_log_probs asks the reference about all samples beforehand, and streaming does not have them.",
            "Take one of the two keys out.",
        )
    samples = read_samples(config, None, wants=stage.sample)
    _, of_data = identify(config, samples, stage, template, tokenizer)
    fingerprint = hashlib.sha256(f"{of_data} in windows of {config.buffer_size}".encode()).hexdigest()[:32]
    encoder = GroupEncoder(stage, template, skips=config.on_bad_row == "skip")
    return Stream(config=config, samples=samples, encoder=encoder, fingerprint=fingerprint, held_out=int(config.val_size))
