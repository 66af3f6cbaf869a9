"""The nouns that every part of Luthier shares. No torch is imported here at run time.

Samples (what a dataset row means):    Conversation, Preference, Rated, Prompt, Text
Turn    (what a template makes of it): prompt, answer and tail as token ids
Encoded (what a stage makes of one):   Encoded = one or more Segments of token ids and labels
Batch   (what the model sees):         segments laid end to end in one row, no padding
LossOutput (what a stage returns):     a sum, to be divided by the size of the whole optimizer step

Tensor names carry their dims: T tokens of a batch, N supervised positions, S segments, B samples,
H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_INDEX = -100
"""The label of a token that is not learned (the value torch's cross entropy ignores)."""

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a sample came from, for error messages and provenance. row counts from 1."""

    dataset: str
    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file} row {self.row}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One function call of an assistant. arguments is the parsed JSON object."""

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    content: the words, without thinking and tool calls.
    thinking: the reasoning before the words (no tags); None when there was none.
    weight: factor of this turn's loss; None leaves it to the stage (1 for assistant turns), 0 never learns it.
    """

    role: Role
    content: str = ""
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages in order (a system message, if any, comes first) and the tools offered in them.

    tools: JSON-schema function descriptions, each {"name", "description", "parameters"}.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A prompt with a better and a worse answer."""

    prompt: Conversation
    chosen: Message
    rejected: Message
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A conversation whose last answer was found good (desirable) or bad."""

    conversation: Conversation
    desirable: bool
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A conversation that waits for an answer; reference and the other columns serve rewards and metrics."""

    conversation: Conversation
    reference: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One document for pre-training."""

    text: str
    origin: Origin | None = None


Sample = Conversation | Preference | Rated | Prompt | Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One assistant turn as token ids.

    prompt: what comes before the answer since the last turn (system, tools, user, tool results, generation header).
    answer: the assistant's words and its end-of-turn token(s); empty for a conversation that waits for an answer.
    tail: what the template puts after the end of the turn (a newline in ChatML), in no case learned.
    weight: loss factor of the answer (Message.weight, 1 where that is None).
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    tail: tuple[int, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stretch of tokens that sees only itself.

    input_ids: int32 (T,).  labels: int32 (T,), equal to input_ids where learned, IGNORE_INDEX elsewhere.
    weights: float32 (T,), loss factor of each token, or None for 1 everywhere.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One sample as token ids: one segment for sft and pt, two (chosen, rejected) for preferences.

    value: a number that belongs to the sample (the rating in KTO), 0 where unused.
    cut_tokens: how many tokens of the sample were lost to cutoff_len; the caller adds them up and reports them.
    """

    segments: tuple[Segment, ...]
    value: float = 0.0
    cut_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        return sum(segment.num_tokens for segment in self.segments)


@dataclass(slots=True, kw_only=True)
class Batch:
    """Segments laid end to end in one row: every token is real, no segment sees another.

    input_ids, position_ids: int64 (1, T); positions restart at each segment.
    segment_lengths: tokens of each of the S segments; sums to T.
    positions: int64 (N,), index in T of the hidden state that predicts each supervised token.
    targets: int64 (N,), the supervised tokens.
    weights: float32 (N,) loss factors, or None for 1 everywhere.
    segment_ids: int64 (N,), the segment that each supervised token belongs to.
    values: float32 (B,), Encoded.value of each sample.  segments_per_sample: S // B.
    notes: name -> float32 (N,), what was noted of each supervised token when the sample was made (stages that draw answers).
    """

    input_ids: Tensor
    position_ids: Tensor
    segment_lengths: tuple[int, ...]
    positions: Tensor
    targets: Tensor
    segment_ids: Tensor
    values: Tensor
    weights: Tensor | None = None
    segments_per_sample: int = 1
    notes: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return self.input_ids.shape[1]

    @property
    def num_segments(self) -> int:
        return len(self.segment_lengths)

    def parts(self, which: int) -> Batch:
        """Segment number `which` of every sample, as a batch of one segment a sample. An own copy; values are shared."""
        step = self.segments_per_sample
        lengths = self.input_ids.new_tensor(self.segment_lengths)
        numbers_S = lengths.new_ones(self.num_segments).cumsum(0) - 1
        wanted_S = numbers_S % step == which
        wanted_T = wanted_S.repeat_interleave(lengths)
        wanted_N = wanted_S[self.segment_ids]
        return Batch(
            input_ids=self.input_ids[:, wanted_T],
            position_ids=self.position_ids[:, wanted_T],
            segment_lengths=self.segment_lengths[which::step],
            positions=(wanted_T.cumsum(0) - 1)[self.positions[wanted_N]],
            targets=self.targets[wanted_N],
            segment_ids=self.segment_ids[wanted_N] // step,
            values=self.values,
            weights=None if self.weights is None else self.weights[wanted_N],
        )


@dataclass(slots=True, kw_only=True)
class LossOutput:
    """What a stage makes of one micro-batch.

    total: shape (), the SUM of the losses in nats; the trainer divides it by the number of units of the whole step.
    metrics: name -> (sum, count), detached; the trainer adds them up over the step and divides.
    """

    total: Tensor
    metrics: Mapping[str, tuple[Tensor | float, Tensor | float]] = field(default_factory=dict)
