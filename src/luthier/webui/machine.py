"""How busy this machine is: processors, memory, graphics cards. Never imports torch.

Leaves: one Load; cards are asked through `nvidia-smi`, where there is one, at most every few seconds for all readers together.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

CARD_QUERY = ("--query-gpu=name,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits")
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One graphics card. used, total: bytes.  busy: percent."""

    name: str
    used: int
    total: int
    busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """busy: percent of all cores.  used, total: bytes of memory."""

    busy: float
    cores: int
    used: int
    total: int
    cards: tuple[Card, ...] = ()


class Machine:
    """Asked by every open page; measured once every interval_s."""

    def __init__(self, interval_s: float = 2.0):
        self.interval_s = interval_s
        self._measured_at = float("-inf")
        self._load: Load | None = None
        self._smi = shutil.which("nvidia-smi")
        psutil.cpu_percent()  # the first call only sets the clock

    async def load(self) -> Load:
        """The newest measurement."""
        if self._load is None or time.monotonic() - self._measured_at > self.interval_s:
            self._measured_at = time.monotonic()
            memory = psutil.virtual_memory()
            self._load = Load(
                busy=psutil.cpu_percent(),
                cores=psutil.cpu_count() or 1,
                used=memory.total - memory.available,
                total=memory.total,
                cards=await self._cards(),
            )
        return self._load

    async def _cards(self) -> tuple[Card, ...]:
        if not self._smi:
            return ()
        with suppress(OSError, TimeoutError, ValueError):
            process = await asyncio.create_subprocess_exec(
                self._smi, *CARD_QUERY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            output, _ = await asyncio.wait_for(process.communicate(), 5)
            return tuple(map(_card, output.decode().strip().splitlines()))
        return ()


def _card(line: str) -> Card:
    """NVIDIA H100 80GB HBM3, 512, 81559, 3 -> Card"""
    name, used, total, busy = (part.strip() for part in line.rsplit(",", 3))
    return Card(name=name, used=int(used) * MIB, total=int(total) * MIB, busy=float(busy) if busy.isdigit() else 0.0)
