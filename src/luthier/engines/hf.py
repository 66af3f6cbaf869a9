"""The local engine: a transformers model, alone or with PEFT adapters, answering many prompts at once.

Enters: prompt ids. Leaves: completions, or the pieces of one as they come. Any number of threads may ask at the same time: the
one whose turn it is runs a step for all of them, so they share one batch and none needs a thread of the engine's own.

Never: computes gradients; leaves the model in evaluation mode or with another attention once nothing is being answered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from luthier.engines.base import Completion, Sampling
from luthier.engines.beams import search
from luthier.engines.grammar import Guides
from luthier.engines.pool import hidden_states
from luthier.engines.request import Delta, Request
from luthier.engines.runner import Runner
from luthier.engines.scheduler import Scheduler
from luthier.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


class HFEngine:
    """See engines/base.py for the contract.

    stop_token_ids: an answer ends at any of them.
    max_batch_tokens: the most tokens (prompts, answers and padding) held at once; None: as many as the free memory holds.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        stop_token_ids: Sequence[int],
        *,
        max_batch_tokens: int | None = None,
    ):
        self._runner = Runner(model)
        self._scheduler = Scheduler(self._runner, max_batch_tokens)
        self._tokenizer, self._stop_ids = tokenizer, frozenset(stop_token_ids)
        self._guides = Guides(tokenizer, stop_token_ids)
        self._turn = threading.Lock()

    @property
    def num_running(self) -> int:
        """Answers under way at this moment."""
        return self._scheduler.num_rows

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling | Sequence[Sampling], *, adapter: str | None = None
    ) -> Iterator[Completion]:
        """Completions in the order in which they finish. sampling: one for all prompts, or one for each.

        Until the iterator is exhausted or closed the model stays in evaluation mode.
        """
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        if len(samplings) != len(prompts):
            raise EngineError(
                f"{len(prompts)} prompts came with {len(samplings)} samplings.", "Give one for all or one for each."
            )
        outbox: deque[Delta | Completion | Exception] = deque()
        plain = [index for index, each in enumerate(samplings) if each.num_beams == 1]
        requests = [self._request(prompts[i], samplings[i], i, outbox, adapter) for i in plain]
        beams = [self._request(prompts[i], samplings[i], i, outbox, adapter) for i in set(range(len(prompts))) - set(plain)]
        yield from self._answer(requests, outbox)
        yield from self._search(beams, outbox)

    def stream(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        adapter: str | None = None,
    ) -> Iterator[str]:
        """Pieces of the answer's text as they come; with beams there is nothing to give before the end."""
        for delta in self.deltas(prompt, sampling, cancelled, adapter=adapter):
            if delta.text:
                yield delta.text

    def deltas(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        adapter: str | None = None,
    ) -> Iterator[Delta]:
        """What each step adds to one answer; the last one has the finish_reason."""
        outbox: deque[Delta | Completion | Exception] = deque()
        request = self._request(prompt, sampling, 0, outbox, adapter, streaming=True)
        beams = sampling.num_beams > 1
        for delta in self._search([request], outbox) if beams else self._answer([request], outbox, cancelled):
            if isinstance(delta, Delta):
                yield delta

    # ---- for a thread that steps for everybody (driver.py) ----

    def prepare(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        outbox: deque[Delta | Completion | Exception],
        *,
        index: int = 0,
        adapter: str | None = None,
        deltas: bool = True,
    ) -> Request:
        """A request whose Completion (after its Deltas, if these are wanted) will go to outbox once it is added.

        Raises EngineError for one that cannot be; safe in any thread.
        """
        return self._request(prompt, sampling, index, outbox, adapter, streaming=deltas, urgent=True)

    def add(self, requests: Sequence[Request]) -> None:
        with self._turn:
            self._scheduler.add(requests)

    def advance(self) -> bool:
        """One step for all; whether anything is left to do. Requests whose `cancelled` is set are freed by it."""
        with self._turn:
            self._step()
            return not self._scheduler.idle

    # ---- beside generation ----

    def hidden_states(self, prompts: Sequence[Sequence[int]], *, adapter: str | None = None) -> Iterator[tuple[int, Tensor]]:
        """(which prompt, its last hidden states (T, H) float32), in batches of like length; other answers go on in between."""
        for index, prompt in enumerate(prompts):
            self._check(prompt, index, room_for=0)
        self._runner.check_adapter(adapter)
        batches = hidden_states(self._runner, prompts, adapter)
        while (batch := self._one_batch(batches)) is not None:
            yield from batch

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for."""
        return self._guides.bytes_of(id)

    # ---- how it is done ----

    def _check(self, prompt: Sequence[int], index: int, room_for: int) -> None:
        """Raise EngineError for a prompt that cannot be read with room_for tokens after it."""
        length, vocabulary = self._runner.context_length, self._runner.vocabulary
        if not prompt:
            raise EngineError(f"prompt {index} is empty.", "A prompt needs at least one token.")
        if length and len(prompt) + room_for > length:
            raise EngineError(
                f"prompt {index} has {len(prompt):,} tokens; the model's context is {length:,}.",
                "Shorten it, or extend the context with rope_scaling.",
            )
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            raise EngineError(f"prompt {index} holds token ids outside the model's vocabulary of {vocabulary:,}.")

    def _request(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        index: int,
        outbox: deque[Delta | Completion | Exception],
        adapter: str | None,
        streaming: bool = False,
        urgent: bool = False,
    ) -> Request:
        """Raises EngineError for a prompt that cannot be answered."""
        self._check(prompt, index, room_for=1)
        self._runner.check_adapter(adapter)
        if any(not 0 <= id < self._runner.vocabulary for id, _ in sampling.logit_bias):
            raise EngineError(f"logit_bias names a token outside the model's vocabulary of {self._runner.vocabulary:,}.")
        room = (self._runner.context_length or float("inf")) - len(prompt)
        return Request(
            prompt,
            sampling,
            index=index,
            limit=int(min(sampling.max_new_tokens, room)),
            stop_ids=self._stop_ids,
            decode=self._decode,
            outbox=outbox,
            streaming=streaming,
            urgent=urgent,
            adapter=adapter,
            guide=self._guides.make(sampling.grammar) if sampling.grammar is not None else None,
        )

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _answer(
        self,
        requests: list[Request],
        outbox: deque[Delta | Completion | Exception],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Delta | Completion]:
        with self._turn:
            self._scheduler.add(requests)
        try:
            unanswered = len(requests)
            while unanswered:
                if cancelled():
                    self._cancel(requests)
                self._advance(outbox)
                while outbox:
                    answer = outbox.popleft()
                    if isinstance(answer, Exception):
                        raise answer
                    unanswered -= isinstance(answer, Completion)
                    yield answer
        finally:  # also where the caller closes the iterator half-way
            self._cancel(requests)

    def _advance(self, outbox: deque[Delta | Completion | Exception]) -> None:
        """Wait for the turn, and run one step unless another thread's step has brought something already."""
        with self._turn:
            if not outbox:
                self._step()

    def _step(self) -> None:
        try:
            self._runner.enter()
            self._scheduler.step()
        except Exception as error:
            self._scheduler.abort(error)
        except BaseException:  # Ctrl-C: the batch may be half-way between two states
            self._scheduler.abort(EngineError("the answer was interrupted."))
            raise
        finally:
            self._rest()

    def _cancel(self, requests: list[Request]) -> None:
        with self._turn:
            for request in requests:
                request.cancelled = request.finish_reason is None
            self._scheduler.drop_cancelled()
            self._rest()

    def _rest(self) -> None:
        if self._scheduler.idle:
            self._runner.leave()

    def _search(self, requests: list[Request], outbox: deque[Delta | Completion | Exception]) -> Iterator[Delta | Completion]:
        """Beam search; the model is taken for as long as a batch of it lasts."""
        if not requests:
            return
        batches = search(self._runner, self._tokenizer, requests, sorted(self._stop_ids))
        for _ in iter(lambda: self._one_batch(batches), None):
            while outbox:
                yield outbox.popleft()

    def _one_batch(self, batches: Iterator[T]) -> T | None:
        with self._turn:
            self._runner.enter()
            try:
                return next(batches, None)
            finally:
                self._rest()
