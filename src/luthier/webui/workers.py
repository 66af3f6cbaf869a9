"""A process beside the web process, asked in JSON lines: the helper, and the talker of the chat.

What enters: requests. What leaves: answers, or the pieces of one answer as they come. The process starts at the first request,
ends with the web process (its stdin closes), and is started anew where it died.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from luthier.errors import EngineError, LuthierError

log = logging.getLogger(__name__)
LINE_BYTES = 64 << 20


class Worker:
    """module: what `python -m` runs. Requests of one process are answered in turn."""

    def __init__(self, module: str):
        self.module = module
        self._numbers = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_alive else None

    async def call(self, do: str, **request: Any) -> dict[str, Any]:
        """One answer. Raises LuthierError with the words of the process."""
        async for answer in self.stream(do, **request):
            return answer
        raise EngineError("the process gave no answer.")

    async def stream(self, do: str, **request: Any) -> AsyncIterator[dict[str, Any]]:
        """Every answer to one request: {"piece": ...} as long as there are more, then {"result": ...}'s content."""
        process = await self._start()
        number = next(self._numbers)
        queue = self._waiting[number] = asyncio.Queue()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"id": number, "do": do, **request}, ensure_ascii=False).encode() + b"\n")
            await process.stdin.drain()
            while True:
                answer = await queue.get()
                if "error" in answer:
                    raise LuthierError(answer["error"], answer.get("remedy"))
                if "result" in answer:
                    yield answer["result"]
                    return
                yield answer
        except (BrokenPipeError, ConnectionResetError):
            raise EngineError("the process that was asked has ended.", "Try again: it is started anew.") from None
        finally:
            self._waiting.pop(number, None)

    def send(self, do: str, **request: Any) -> None:
        """A request without an answer, such as stop."""
        if self.is_alive and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"id": 0, "do": do, **request}).encode() + b"\n")

    async def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None and self.is_alive:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), 3)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        if self._process is None or not self.is_alive:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LINE_BYTES,
            )
            self._reader = asyncio.create_task(self._read(self._process))
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            answer: Mapping[str, Any] = json.loads(line)
            if queue := self._waiting.get(answer["id"]):
                queue.put_nowait(dict(answer))
        code = await process.wait()
        for queue in self._waiting.values():
            queue.put_nowait({"error": f"the process ended (code {code}).", "remedy": "It may have run out of memory."})
