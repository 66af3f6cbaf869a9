"""Continuous batching: finished rows leave at once, waiting ones take their place, and memory decides how many there are.

    waiting ──admit──> rows ──step──> a token each ──> finished: the slot is free
       ^                 │
       └── set back ─────┘  where memory is short; tokens so far are kept and read again later

Enters: Requests. Leaves: their outboxes filled. Never: loses a request, lets one wait for ever, runs out of memory in silence.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

import torch

from luthier.engines.request import Request
from luthier.engines.runner import Runner
from luthier.engines.sampler import Chooser
from luthier.errors import EngineError
from luthier.runtime.device import Device, memory

log = logging.getLogger(__name__)

MAX_ROWS = {"cpu": 64}
MAX_ROWS_ACCELERATOR = 256
"""More rows at once than this win no speed and cost memory for logits and sampling."""

PREFILL_TOKENS = {"cpu": 2048}
PREFILL_TOKENS_ACCELERATOR = 8192
"""Prompt tokens of one forward pass: enough to fill the machine; more only holds up the rows that are under way."""

MEMORY_SHARE = 0.6
"""Part of the free memory that the cache may take; activations and everybody else need the rest."""

HEADROOM = 64
"""Tokens of answer that every row must have room for when it is admitted."""


class Scheduler:
    """max_batch_tokens: the most cached tokens, padding included; None: as many as the free memory holds."""

    def __init__(self, runner: Runner, max_batch_tokens: int | None = None):
        kind = runner.device.type
        self._runner, self._cache = runner, None
        self._max_tokens = max_batch_tokens
        self._max_rows = MAX_ROWS.get(kind, MAX_ROWS_ACCELERATOR)
        self._prefill_tokens = PREFILL_TOKENS.get(kind, PREFILL_TOKENS_ACCELERATOR)
        self._urgent: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._rows: list[Request] = []
        self._chooser: Chooser | None = None

    @property
    def idle(self) -> bool:
        return not (self._rows or self._urgent or self._waiting)

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    def add(self, requests: Sequence[Request]) -> None:
        """Queue requests: streams first come first served, batches behind them and by length, longest first.

        Longest first, so that a batch that is too large shows at once and rows that join later need no more columns.
        """
        self._urgent.extend(request for request in requests if request.urgent)
        batch = [request for request in requests if not request.urgent]
        self._waiting = deque(sorted([*self._waiting, *batch], key=lambda request: -request.num_tokens))

    def step(self) -> None:
        """Free what was cancelled, admit what fits, and give every row one token."""
        self.drop_cancelled()
        group: list[Request] = []
        try:
            while group := self._next_group():
                self._prefill(group)
            if self._rows:
                self._decode()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._make_do_with_less(len(group))

    def abort(self, error: Exception) -> None:
        """End everything with an error that leaves no way on."""
        for request in [*self._rows, *self._urgent, *self._waiting]:
            request.fail(error)
        self._rows, self._chooser, self._cache = [], None, None
        self._urgent.clear()
        self._waiting.clear()

    def drop_cancelled(self) -> None:
        """Free the slots and places of requests whose `cancelled` is set."""
        for row in reversed(range(len(self._rows))):
            if self._rows[row].cancelled:
                self._remove(row).finish("cancelled")
        for queue in (self._urgent, self._waiting):
            gone = [request for request in queue if request.cancelled]
            for request in gone:
                queue.remove(request)
                request.finish("cancelled")

    def _next_group(self) -> list[Request]:
        """The requests to pre-fill now, at the front of their queue; empty where none fits or it is better to wait."""
        queue = self._urgent or self._waiting
        if not queue:
            return []
        if self._cache is None:
            self._open()
        cache, running = self._cache, len(self._rows)
        if running and not cache.joins:
            return []
        fitting: list[Request] = []
        longest = max(cache.width, queue[0].num_tokens)
        for request in queue:
            longest = max(longest, request.num_tokens)
            rows = running + len(fitting) + 1
            if rows > 1 and (rows > self._max_rows or rows * (longest + HEADROOM) > self._max_tokens):
                break
            fitting.append(request)
        # a forward pass for one new row costs about as much as one for several: wait until some can join together
        if running and queue is self._waiting and len(fitting) < min(len(queue), running // 8):
            return []
        return self._of_one_pass(fitting) if cache.joins else fitting

    def _of_one_pass(self, fitting: list[Request]) -> list[Request]:
        """As many as one forward pass should read; those that ask the same are read once."""
        texts = set()
        longest = max((request.num_tokens for request in fitting), default=1)
        for count, request in enumerate(fitting):
            texts.add(_text(request))
            if len(texts) > max(1, self._prefill_tokens // longest):
                return fitting[:count]
        return fitting

    def _prefill(self, group: list[Request]) -> None:
        """Read prompts. One that several ask (n of the API, the groups of GRPO) is computed once, and copied for the others."""
        cache = self._cache
        group, sources = _firsts_first(group) if cache.joins else (group, [])
        firsts = group[: len(group) - len(sources)]
        lengths = [request.num_tokens for request in firsts]
        if sources:
            cache.make_room(len(self._rows) + len(group), max(cache.width, *lengths) + 1)
        mask = cache.begin_prefill(lengths)
        prompts = [request.prompt + request.ids for request in firsts]
        logits_BV = self._runner.forward(prompts, mask, cache, adapters=[request.adapter for request in firsts])
        cache.end_prefill(lengths)
        if sources:
            cache.fork([len(self._rows) + source for source in sources])
            logits_BV = torch.cat((logits_BV, logits_BV[sources]))
        queue = self._urgent if group[0].urgent else self._waiting
        for _ in group:
            queue.popleft()
        first = len(self._rows)
        self._rows += group
        self._chooser = None
        self._give(first, logits_BV, self._make_chooser(group, logits_BV))

    def _decode(self) -> None:
        rows = self._rows
        while len(rows) > 1 and len(rows) * (self._cache.width + 1) > self._max_tokens:
            self._set_back(1)
        mask = self._cache.begin_step()
        logits_BV = self._runner.forward(
            [[request.ids[-1]] for request in rows],
            mask,
            self._cache,
            positions=[request.num_tokens - 1 for request in rows],
            adapters=[request.adapter for request in rows],
        )
        self._cache.end_step()
        if self._chooser is None:
            self._chooser = self._make_chooser(rows, logits_BV)
        self._give(0, logits_BV, self._chooser)

    def _give(self, first: int, logits_BV: torch.Tensor, chooser: Chooser) -> None:
        """Hand the rows from first on their next token, and free those that are finished."""
        sound = logits_BV.amax(-1).isfinite().tolist()
        ids, logprobs = chooser.choose(logits_BV)
        for request, id, logprob, finite in zip(self._rows[first:], ids, logprobs, sound):
            if finite:
                request.take(id, logprob)
            else:
                request.fail(_no_number(request))
        for row in reversed(range(first, len(self._rows))):
            if self._rows[row].finish_reason is not None:
                self._remove(row)

    def _make_chooser(self, rows: Sequence[Request], logits_BV: torch.Tensor) -> Chooser:
        return Chooser(
            [request.sampling for request in rows],
            [request.prompt for request in rows],
            [request.ids for request in rows],
            [request.rng for request in rows],
            logits_BV.shape[1],
            logits_BV.device,
            [request.guide for request in rows],
        )

    def _remove(self, row: int) -> Request:
        self._cache.remove(row)
        request, last = self._rows[row], self._rows.pop()
        if last is not request:
            self._rows[row] = last
        self._chooser = None
        return request

    def _set_back(self, count: int) -> None:
        """Take the rows with the shortest answers out again; what they have so far will be read anew."""
        shortest = sorted(range(len(self._rows)), key=lambda row: len(self._rows[row].ids))[: max(count, 0)]
        for row in sorted(shortest, reverse=True):
            request = self._remove(row)
            (self._urgent if request.urgent else self._waiting).appendleft(request)

    def _open(self) -> None:
        self._cache = self._runner.make_cache()
        if self._max_tokens is None:
            device = self._runner.device
            free, _ = memory(Device(kind=device.type, index=device.index))
            vocabulary = self._runner.inner.config.get_text_config().vocab_size
            logits = 4 * 4 * vocabulary * self._max_rows  # four float32 copies at the peak of sampling
            cache = max(MEMORY_SHARE * free - logits, 0.1 * free)
            self._max_tokens = max(1024, int(cache / max(self._cache.bytes_per_token, 1)))
            log.debug("room for %s cached tokens", f"{self._max_tokens:,}")

    def _make_do_with_less(self, joining: int) -> None:
        """After running out of memory: half as many rows from now on; a single answer that does not fit is given up."""
        rows, device = len(self._rows) + joining, self._runner.device
        if rows <= 1:
            request = self._remove(0) if self._rows else (self._urgent or self._waiting).popleft()
            request.fail(
                EngineError(
                    f"out of memory on {device} with a single answer of {request.num_tokens:,} tokens.",
                    "Shorten the prompt (cutoff_len), lower max_new_tokens, or load the model in a smaller dtype or quantised.",
                )
            )
        else:
            self._max_rows = rows // 2
            self._prefill_tokens = max(1, self._prefill_tokens // 2)
            self._set_back(len(self._rows) - self._max_rows)
            log.warning("out of memory on %s with %d answers at once: going on with %d.", device, rows, self._max_rows)
        if device.type != "cpu":
            torch.get_device_module(device).empty_cache()


def _no_number(request: Request) -> EngineError:
    return EngineError(
        f"the model computed no number (NaN or infinity) after {request.num_tokens:,} tokens.",
        "Its weights are damaged, or float16 is too small for it: load it with infer_dtype bfloat16 or float32.",
    )


def _text(request: Request) -> tuple[str | None, tuple[int, ...]]:
    """What is read: by which adapter, which tokens."""
    return request.adapter, (*request.prompt, *request.ids)


def _firsts_first(group: Sequence[Request]) -> tuple[list[Request], list[int]]:
    """(the first request of each text, then those that repeat one; which of the first ones each of these repeats)."""
    places: dict[object, int] = {}
    firsts, later, sources = [], [], []
    for request in group:
        place = places.setdefault(_text(request), len(firsts))
        if place == len(firsts):
            firsts.append(request)
        else:
            later.append(request)
            sources.append(place)
    return firsts + later, sources


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out; torch has a class of its own for accelerators, but not for the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
