"""Prompts that wait for an answer, as token ids: nothing in them is learned, the answers are drawn later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from luthier.config import Config
from luthier.errors import DataError
from luthier.types import IGNORE_INDEX, Encoded, Prompt, Segment

if TYPE_CHECKING:
    from luthier.templates.base import Template


def encode_prompts(config: Config, samples: Sequence[Prompt], template: Template) -> list[list[Encoded]]:
    """One segment a prompt, up to the generation header. A prompt longer than cutoff_len is left out, or an error: one that is
    cut asks something else."""
    return [_encoded(config, template.encode_prompt(sample.conversation), sample) for sample in samples]


def _encoded(config: Config, ids: list[int], sample: Prompt) -> list[Encoded]:
    if len(ids) > config.cutoff_len:
        if config.overflow == "error":
            raise DataError(
                f"{sample.origin or 'a prompt'} has {len(ids)} tokens, more than cutoff_len {config.cutoff_len}.",
                "Raise cutoff_len, or set overflow: drop.",
            )
        return []
    array = np.array(ids, np.int32)
    return [Encoded(segments=(Segment(input_ids=array, labels=np.full(len(ids), IGNORE_INDEX, np.int32)),))]
