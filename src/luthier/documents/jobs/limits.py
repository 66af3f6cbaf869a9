"""How many calls at once and how many a minute: additive increase, multiplicative decrease, and the limits that a user knows.

Enters: the wish to call, and whether calls succeed. Leaves: permission. Halves the calls at once when a server is overloaded,
adds one after so many good answers, and never goes over what the recipe allows. A server's own "wait so long" holds everybody
back.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

GOOD_PER_STEP = 8
MINUTE = 60.0
POLL_S = 0.05


class Limiter:
    """most: calls at once.  per_minute, tokens_per_minute: None for no limit.  clock: seconds, for tests."""

    def __init__(
        self,
        most: int,
        per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.most, self.per_minute, self.tokens_per_minute, self.clock = most, per_minute, tokens_per_minute, clock
        self.allowed = most
        self.active = 0
        self._good = 0
        self._not_before = 0.0
        self._sent: deque[tuple[float, int]] = deque()
        self._slowed = -1e9

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[None]:
        """Waits for its turn. tokens: estimate for this call, both ways."""
        while not self._try(tokens):
            await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            self.active -= 1

    def _try(self, tokens: int) -> bool:
        now = self.clock()
        while self._sent and now - self._sent[0][0] >= MINUTE:
            self._sent.popleft()
        if self.active >= self.allowed or now < self._not_before:
            return False
        if self.per_minute and len(self._sent) >= self.per_minute:
            return False
        if self.tokens_per_minute and self._sent and sum(n for _, n in self._sent) + tokens > self.tokens_per_minute:
            return False
        self.active += 1
        self._sent.append((now, tokens))
        return True

    def succeeded(self) -> None:
        self._good += 1
        if self._good >= GOOD_PER_STEP and self.allowed < self.most:
            self.allowed, self._good = self.allowed + 1, 0

    def overloaded(self, wait_s: float = 0.0) -> None:
        """The server said stop, or was too slow. Halves once for all calls that were in the air at that moment."""
        now = self.clock()
        self._good = 0
        self._not_before = max(self._not_before, now + wait_s)
        if now - self._slowed > 1.0:
            self.allowed, self._slowed = max(1, self.allowed // 2), now
