"""Conversations of which one answer counts (preferences, rated answers) as one segment each: the last answer is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.config import Config
from luthier.stages.length import Frame, fit_pair, frame_of
from luthier.stages.sft import segment_of
from luthier.types import Conversation, Encoded, Preference, Rated, Turn

if TYPE_CHECKING:
    from luthier.templates.base import Template


def encode_pairs(config: Config, samples: Sequence[Preference], template: Template) -> list[list[Encoded]]:
    """Each preference as two segments, chosen first, both cut at the same place of the prompt."""
    frame = frame_of(template)
    both = [_answered(sample, chosen=chosen) for sample in samples for chosen in (True, False)]
    turns = [last_turn(each) for each in template.encode_batch(both)]
    return [_encoded(config, pair, frame, sample) for sample, pair in zip(samples, zip(turns[::2], turns[1::2]), strict=True)]


def encode_rated(config: Config, samples: Sequence[Rated], template: Template) -> list[list[Encoded]]:
    """Each rated conversation as one segment; value is 1 where it was found good, 0 where bad."""
    frame = frame_of(template)
    turns = [last_turn(each) for each in template.encode_batch([sample.conversation for sample in samples])]
    return [
        _encoded(config, (turn,), frame, sample, float(sample.desirable)) for sample, turn in zip(samples, turns, strict=True)
    ]


def last_turn(turns: Sequence[Turn]) -> Turn:
    """All that comes before the last answer as its prompt; what the template writes after it is left out."""
    before = [token for turn in turns[:-1] for part in (turn.prompt, turn.answer, turn.tail) for token in part]
    return Turn(prompt=(*before, *turns[-1].prompt), answer=turns[-1].answer)


def _answered(sample: Preference, *, chosen: bool) -> Conversation:
    prompt = sample.prompt
    answer = sample.chosen if chosen else sample.rejected
    return Conversation(messages=(*prompt.messages, answer), tools=prompt.tools, origin=sample.origin)


def _encoded(
    config: Config, turns: Sequence[Turn], frame: Frame, sample: Preference | Rated, value: float = 0.0
) -> list[Encoded]:
    fitted = fit_pair(turns, config.cutoff_len, config.overflow, frame, sample.origin)
    if fitted is None or not all(turn.answer for turn in turns):
        return []
    kept, cut = fitted
    return [Encoded(segments=tuple(segment_of([turn]) for turn in kept), value=value, cut_tokens=cut)]
