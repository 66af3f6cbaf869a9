"""One thread that steps an HFEngine for everybody, so that an asynchronous server waits for nothing.

    submit (any thread) ──> inbox ──> step ──> Deltas and Completions of that step ──> deliver (this thread), once a step

Never: blocks who submits or cancels; dies of an error in an answer.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luthier.engines.base import Completion, Sampling
from luthier.engines.request import Delta, Request
from luthier.errors import EngineError

if TYPE_CHECKING:
    from luthier.engines.hf import HFEngine

log = logging.getLogger(__name__)

News = tuple["Ticket", Delta | Completion | Exception]


@dataclass(eq=False, slots=True)
class Ticket:
    """One answer that was asked for. take: called with what a step brought, in the driver's thread."""

    take: Callable[[list[Delta | Completion | Exception]], None]
    request: Request | None = None
    _fresh: list[Delta | Completion | Exception] = field(default_factory=list)

    def append(self, item: Delta | Completion | Exception) -> None:
        """The outbox of the request."""
        self._fresh.append(item)

    def deliver(self) -> bool:
        """Hand on what is new; whether the answer goes on."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            self.take(fresh)
        return not any(isinstance(item, (Completion, Exception)) for item in fresh)

    def cancel(self) -> None:
        """Free its slot at the next step. Does nothing where it is answered."""
        if self.request is not None and self.request.finish_reason is None:
            self.request.cancelled = True


class Driver:
    """num_running, num_waiting: answers in the batch, and before it."""

    def __init__(self, engine: HFEngine):
        self.engine = engine
        self._inbox: deque[Ticket] = deque()
        self._open: list[Ticket] = []
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def num_running(self) -> int:
        return self.engine.num_running

    @property
    def num_waiting(self) -> int:
        return max(0, len(self._inbox) + len(self._open) - self.num_running)

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        take: Callable[[list[Delta | Completion | Exception]], None],
        *,
        adapter: str | None = None,
        deltas: bool = True,
    ) -> Ticket:
        """Ask for an answer; deltas False: only for its Completion, which costs less. Safe in any thread.

        Raises EngineError for a prompt, a grammar or an adapter that cannot be, and after close().
        """
        if self._ends:
            raise EngineError("the engine is closed.")
        ticket = Ticket(take)
        ticket.request = self.engine.prepare(prompt, sampling, ticket, adapter=adapter, deltas=deltas)  # type: ignore[arg-type]
        self._inbox.append(ticket)
        self._wake.set()
        return ticket

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        self._ends = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        goes_on = False
        while True:
            if not goes_on:
                self._wake.wait()
            self._wake.clear()
            if self._ends:
                for ticket in [*self._open, *self._inbox]:
                    ticket.cancel()
            fresh = [self._inbox.popleft() for _ in range(len(self._inbox))]
            self._open += fresh
            self.engine.add([ticket.request for ticket in fresh if ticket.request is not None])
            goes_on = self.engine.advance()
            self._open = [ticket for ticket in self._open if self._deliver(ticket)]
            if self._ends and not goes_on and not self._inbox:
                return

    def _deliver(self, ticket: Ticket) -> bool:
        try:
            return ticket.deliver()
        except Exception:  # whoever asked is gone: their loop is closed
            log.debug("nobody takes an answer any more", exc_info=True)
            ticket.cancel()
            return ticket.request is not None and ticket.request.finish_reason is None
