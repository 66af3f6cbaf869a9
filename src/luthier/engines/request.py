"""One prompt that is being answered: its tokens so far, its text, and why it ended.

Enters: token ids, one at a time. Leaves: a Completion in an outbox, Deltas before it where it streams.
Never: knows what else is being answered.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luthier.engines.base import Completion, FinishReason, Sampling, TokenLogprob
from luthier.engines.detokenize import HALF, Detokenizer, StopTexts
from luthier.engines.grammar import Guide


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What one step added to an answer. text is "" while a character or a stop text is undecided, and several tokens' after."""

    text: str = ""
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


class Request:
    """index: of its prompt.  limit: the most tokens it may get.  streaming: whether Deltas are wanted beside the Completion.

    urgent: first come, first served, before those that may be sorted by length; streams always are.

    guide: what the answer has to look like; None for anything.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        index: int,
        limit: int,
        stop_ids: frozenset[int],
        decode: Callable[[list[int]], str],
        outbox: deque[Delta | Completion | Exception],
        streaming: bool = False,
        urgent: bool = False,
        adapter: str | None = None,
        guide: Guide | None = None,
    ):
        self.guide = guide
        self.prompt, self.sampling, self.index, self.adapter = list(prompt), sampling, index, adapter
        self.outbox, self.streaming, self.urgent = outbox, streaming, urgent or streaming
        self.ids: list[int] = []
        self.rng = random.Random(sampling.seed)
        self.cancelled = False
        self.finish_reason: FinishReason | None = None
        self.limit, self._stop_ids, self._decode = limit, stop_ids, decode
        self._logprobs: list[TokenLogprob] = []
        self._text = ""
        # words are only looked at while they come where somebody waits for them: decoding costs more than a small model's step
        self._pieces = Detokenizer(decode) if streaming or sampling.stop else None
        self._stops = StopTexts(sampling.stop)

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.ids)

    def take(self, id: int, logprob: TokenLogprob | None = None) -> None:
        """The next token. Sets finish_reason and fills the outbox where this ends the answer."""
        if id in self._stop_ids:
            return self.finish("stop")
        self.ids.append(id)
        if logprob is not None:
            self._logprobs.append(logprob)
        piece, met = self._stops.push(self._pieces.push(id)) if self._pieces else ("", False)
        self._text += piece
        if self.streaming:
            self.outbox.append(Delta(text=piece, ids=(id,), logprobs=(logprob,) if logprob else ()))
        whole = self.guide is not None and self.guide.take(id)
        if self.guide is not None and self.guide.error is not None:
            self.fail(self.guide.error)
        elif met:
            self._cut_ids()
            self.finish("stop", held=False)
        elif whole:
            self.finish("stop")
        elif len(self.ids) >= self.limit:
            self.finish("length")

    def finish(self, reason: FinishReason, held: bool = True) -> None:
        """End here. held: whether text that was kept back, because it might have begun a stop text, belongs to the answer."""
        rest = self._stops.flush() if held else ""
        self._text = self._text + rest if self._pieces else whole_text(self._decode, self.ids)
        self.finish_reason = reason
        if self.streaming:
            self.outbox.append(Delta(text=rest, finish_reason=reason))
        self.outbox.append(
            Completion(
                index=self.index,
                ids=tuple(self.ids),
                text=self._text,
                finish_reason=reason,
                prompt_tokens=len(self.prompt),
                logprobs=tuple(self._logprobs) if self.sampling.logprobs is not None else None,
            )
        )

    def fail(self, error: Exception) -> None:
        """End with an error, which whoever waits for the answer raises."""
        self.finish_reason = "cancelled"
        self.outbox.append(error)

    def _cut_ids(self) -> None:
        """Leave only tokens that lie wholly before the stop text."""
        while self.ids and len(self._decode(self.ids)) > len(self._text):
            self.ids.pop()
        del self._logprobs[len(self.ids) :]


def whole_text(decode: Callable[[list[int]], str], ids: Sequence[int]) -> str:
    """The text of a finished answer: what a Detokenizer would have given out, piece by piece."""
    text = decode(list(ids))
    if HALF not in text:
        return text
    pieces = Detokenizer(decode)
    return "".join([pieces.push(id) for id in ids])
