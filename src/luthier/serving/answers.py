"""From the engine's thread to a request: answers as they come, cancelled when nobody waits for them any more.

Enters: prompts. Leaves: (which answer, what a step brought). Never: leaves an answer running that nobody reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from luthier.engines.base import Completion, Sampling
from luthier.engines.driver import Driver, Ticket
from luthier.engines.request import Delta
from luthier.serving.errors import APIError, as_api_error, asked_in

T = TypeVar("T")

News = Delta | Completion | Exception


async def answers(
    driver: Driver,
    prompts: Sequence[Sequence[int]],
    samplings: Sequence[Sampling],
    adapter: str | None,
    *,
    deltas: bool,
    field: str,
) -> AsyncIterator[tuple[int, Delta | Completion]]:
    """Deltas, if wanted, and the Completion of each prompt, as they come. Raises what ends one with an error.

    field: of the request, that the prompts were made of; APIError names it where a prompt cannot be read.
    """
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[tuple[int, list[News]]] = asyncio.Queue()
    tickets: list[Ticket] = []

    def taker(number: int) -> Callable[[list[News]], None]:
        return lambda items: loop.call_soon_threadsafe(inbox.put_nowait, (number, items))

    def submit() -> None:
        for number, (prompt, sampling) in enumerate(zip(prompts, samplings)):
            tickets.append(driver.submit(prompt, sampling, taker(number), adapter=adapter, deltas=deltas))

    try:
        with asked_in(field):
            await run_in_threadpool(submit)  # a grammar may take a moment to compile
            unanswered = len(prompts)
            while unanswered:
                number, items = await inbox.get()
                for item in items:
                    if isinstance(item, Exception):
                        raise item
                    unanswered -= isinstance(item, Completion)
                    yield number, item
    finally:
        for ticket in tickets:
            ticket.cancel()


async def while_connected(request: Request, work: Callable[[], object]) -> T:  # type: ignore[type-var]
    """The outcome of await work(); given up where the client goes away, so that what it waited for is cancelled."""
    outcome: list[T] = []
    errors: list[Exception] = []

    async def watch(scope: anyio.CancelScope) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch, group.cancel_scope)
        try:
            outcome.append(await work())  # type: ignore[misc]
        except Exception as error:  # not through the group, which would wrap it
            errors.append(error)
        group.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not outcome:
        raise APIError(499, "The client went away.", code="client_closed_request")
    return outcome[0]


class EventStream(Response):
    """Server-sent events: each text of lines as one, then [DONE]; an error on the way is an event of its own.

    lines is closed in any case, also where the client goes away between two events.
    """

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncIterator[str]):
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(group: anyio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(watch, group.cancel_scope)
                await self._send_all(send)
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._lines.aclose()  # type: ignore[attr-defined]

    async def _send_all(self, send: Send) -> None:
        with contextlib.suppress(OSError):  # the client is gone
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async for line in self._lines:
                    await self._event(send, line)
                await self._event(send, "[DONE]")
            except OSError:
                raise
            except Exception as error:
                import json

                await self._event(send, json.dumps(as_api_error(error).body, ensure_ascii=False))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _event(self, send: Send, text: str) -> None:
        body = f"data: {text}\n\n".encode("utf-8", "replace")
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def begun(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """lines, with the first one made already: what is wrong with a request shows before an answer has begun."""
    first = await anext(lines)

    async def all_lines() -> AsyncIterator[str]:
        try:
            yield first
            async for line in lines:
                yield line
        finally:
            await lines.aclose()  # type: ignore[attr-defined]

    return all_lines()
