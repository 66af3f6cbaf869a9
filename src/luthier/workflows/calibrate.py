"""Rows of token ids that a quantised export looks at: export_quantization_dataset as the model will meet it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from luthier.config import Config
from luthier.datasets import read_samples
from luthier.datasets.lookup import find_entry
from luthier.errors import DataError
from luthier.hub import prefers_modelscope
from luthier.types import Conversation, Text

if TYPE_CHECKING:
    from luthier.templates.base import Template

log = logging.getLogger(__name__)

AT_ONCE = 64


def calibration_rows(config: Config, template: Template, longest: int | None) -> list[list[int]]:
    """export_quantization_nsamples rows of one length, export_quantization_maxlen or what the model and the data allow.

    Conversations are written in the chat template, texts as they are; they lie end to end and are cut into rows.
    longest: the model's context. Raises DataError where the data is not enough for two rows of 32 tokens.
    """
    name = config.export_quantization_dataset or ""
    length = min(config.export_quantization_maxlen, longest or config.export_quantization_maxlen)
    wanted = config.export_quantization_nsamples * length
    ids = list(itertools.islice(_ids(config, name, template), wanted))
    length = min(length, max(32, len(ids) // 10))
    rows = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    if len(rows) < 2:
        raise DataError(f'export_quantization_dataset "{name}" holds {len(ids)} tokens.', "Calibration needs some thousands.")
    if len(ids) < wanted:
        log.warning("%s gives %d rows of %d tokens to calibrate with; %d of %d were asked for.", name, len(rows), length,
                    config.export_quantization_nsamples, config.export_quantization_maxlen)  # fmt: skip
    return rows


def _ids(config: Config, name: str, template: Template) -> Iterator[int]:
    entry = find_entry(name, config.dataset_dir, modelscope=prefers_modelscope())
    samples = iter(read_samples(config, [name], wants=Text if entry.holds == "text" else Conversation))
    while group := list(itertools.islice(samples, AT_ONCE)):
        if isinstance(group[0], Text):
            for ids in template.encode_texts([sample.text for sample in group]):
                yield from ids
        else:
            for turns in template.encode_batch(group):
                for turn in turns:
                    yield from (*turn.prompt, *turn.answer, *turn.tail)
