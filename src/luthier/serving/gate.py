"""How many requests are answered at once, and how many may wait; one more is turned away at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from luthier.serving.errors import APIError

RETRY_AFTER_S = 1


class Gate:
    """running: requests inside.  waiting: requests before it, first come first served."""

    def __init__(self, most_running: int, most_waiting: int):
        self.most_running, self.most_waiting = most_running, most_waiting
        self.running = self.waiting = 0
        self._places = asyncio.Semaphore(most_running)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises APIError 429 where the queue is full."""
        if self._places.locked() and self.waiting >= self.most_waiting:
            raise APIError(
                429,
                f"{self.running} requests are being answered and {self.waiting} wait; try again later.",
                code="queue_full",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
