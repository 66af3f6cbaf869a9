"""Supervised fine-tuning: learn the assistant's words and its end-of-turn, given all that came before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from luthier.config import Config
from luthier.stages.base import StageDefaults
from luthier.stages.length import Frame, fit, frame_of
from luthier.stages.loss import asft_output, dft_output, eaft_output, nll_output
from luthier.types import IGNORE_INDEX, Batch, Conversation, Encoded, LossOutput, Segment, Turn

if TYPE_CHECKING:
    from luthier.models.score import Scorer
    from luthier.templates.base import Template


class SupervisedFineTuning(StageDefaults):
    """Conversation -> one segment; loss is the mean negative log-probability of the learned tokens, weighted where a key says
    so. Evaluation is always the plain mean."""

    name = "sft"
    sample = Conversation
    unit = "token"

    def __init__(self, config: Config):
        self._config = config
        self.needs_reference = config.use_asft_loss

    def encode(self, samples: Sequence[Conversation], template: Template) -> list[list[Encoded]]:
        frame = frame_of(template)
        return [
            self._encode(turns, frame, sample) for sample, turns in zip(samples, template.encode_batch(samples), strict=True)
        ]

    def _encode(self, turns: list[Turn], frame: Frame, sample: Conversation) -> list[Encoded]:
        config = self._config
        if config.mask_history:
            turns = [_unlearned(turn) for turn in turns[:-1]] + turns[-1:]
        pieces, cut = fit(turns, config.cutoff_len, config.overflow, frame, sample.origin)
        encoded = [Encoded(segments=(segment_of(piece, learn_prompt=config.train_on_prompt),)) for piece in pieces]
        if encoded and cut:
            encoded[0] = Encoded(segments=encoded[0].segments, cut_tokens=cut)
        return [item for item in encoded if (item.segments[0].labels[1:] != IGNORE_INDEX).any()]

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        config = self._config
        if not scorer.training:
            return nll_output(scorer, batch)
        if config.use_dft_loss:
            return dft_output(scorer, batch)
        if config.use_eaft_loss:
            return eaft_output(scorer, batch, config.eaft_alpha)
        if config.use_asft_loss:
            return asft_output(scorer, batch, config.asft_alpha)
        return nll_output(scorer, batch, config.label_smoothing_factor)


def _unlearned(turn: Turn) -> Turn:
    return Turn(prompt=turn.prompt, answer=turn.answer, tail=turn.tail, weight=0.0)


def segment_of(turns: Sequence[Turn], *, learn_prompt: bool = False) -> Segment:
    """Turns end to end as ids and labels; a turn of weight 0 is not learned, other weights than 1 become loss factors."""
    stretches = [
        (stretch, learned, turn.weight or 1.0)
        for turn in turns
        for stretch, learned in ((turn.prompt, learn_prompt), (turn.answer, turn.weight != 0), (turn.tail, False))
        if stretch
    ]
    ids = np.array(list(chain.from_iterable(stretch for stretch, _, _ in stretches)), np.int32)
    labels = np.full(len(ids), IGNORE_INDEX, np.int32)
    end = 0
    for stretch, learned, _ in stretches:
        start, end = end, end + len(stretch)
        if learned:
            labels[start:end] = ids[start:end]
    factors = np.array([factor for _, _, factor in stretches], np.float32)
    weights = None if (factors == 1).all() else np.repeat(factors, [len(stretch) for stretch, _, _ in stretches])
    return Segment(input_ids=ids, labels=labels, weights=weights)
