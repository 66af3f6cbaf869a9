"""Pre-training: learn every token of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from luthier.config import Config
from luthier.errors import DataError
from luthier.stages.base import StageDefaults
from luthier.stages.loss import nll_output
from luthier.types import Batch, Encoded, LossOutput, Segment, Text

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class Pretrain(StageDefaults):
    """Text -> one segment a document, closed by the end-of-text token; loss is the mean over all tokens.

    With packing (the default of this stage) and without neat_packing the workflow lays all documents end to end and cuts them
    into blocks of cutoff_len, so documents stay whole here; otherwise a longer document follows `overflow`.
    """

    name = "pt"
    sample = Text
    unit = "token"

    def __init__(self, config: Config):
        self._config = config
        self.wraps = config.packing is not False and not config.neat_packing

    def encode(self, samples: Sequence[Text], template: Template) -> list[list[Encoded]]:
        return [
            self._encode(ids, sample)
            for ids, sample in zip(template.encode_texts([s.text for s in samples]), samples, strict=True)
        ]

    def _encode(self, ids: list[int], sample: Text) -> list[Encoded]:
        config = self._config
        if self.wraps or len(ids) <= config.cutoff_len:
            return [_encoded(ids)] if len(ids) > 1 else []
        if config.overflow == "error":
            raise DataError(
                f"{sample.origin or 'a document'} has {len(ids)} tokens, more than cutoff_len {config.cutoff_len}.",
                "Set overflow to split, truncate or drop, or raise cutoff_len.",
            )
        if config.overflow == "drop":
            return []
        if config.overflow == "truncate" and not config.neat_packing:
            return [_encoded(ids[: config.cutoff_len], cut_tokens=len(ids) - config.cutoff_len)]
        blocks = [ids[start : start + config.cutoff_len] for start in range(0, len(ids), config.cutoff_len)]
        return [_encoded(block) for block in blocks if len(block) > 1]

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        return nll_output(scorer, batch, self._config.label_smoothing_factor if scorer.training else 0.0)


def _encoded(ids: list[int], cut_tokens: int = 0) -> Encoded:
    array = np.array(ids, np.int32)
    return Encoded(segments=(Segment(input_ids=array, labels=array),), cut_tokens=cut_tokens)
