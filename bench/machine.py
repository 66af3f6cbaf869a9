"""What a table must say about where it was measured: processor, cores, memory, versions, date, load."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

LOAD_LIMIT = 0.15
"""A machine whose cores are busier than this, before a benchmark starts, is not idle."""

OURS = ("luthier", "torch", "transformers", "peft", "tokenizers")
THEIRS = ("llamafactory", "torch", "transformers", "peft", "trl", "accelerate", "tokenizers", "datasets")


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def busy() -> float:
    """Share of the processors' time in use, 0 to 1, over three seconds from now."""
    return psutil.cpu_percent(interval=3) / 100


def describe_load(load: float) -> str:
    if load <= LOAD_LIMIT:
        return f"load before the start {load:.0%}: idle"
    return f"load before the start {load:.0%}: NOT IDLE, the figures are preliminary"


def versions(names: tuple[str, ...]) -> str:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def peer_versions(python: Path) -> str:
    """versions(THEIRS) as the peer's own interpreter sees them; empty where it is not installed."""
    if not python.exists():
        return ""
    code = f"from importlib.metadata import version\nprint(', '.join(f'{{name}} {{version(name)}}' for name in {THEIRS!r}))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def describe(threads: int, load: float, peer_python: Path | None = None) -> list[str]:
    """Lines for the head of a table."""
    lines = [
        f"Date: {datetime.date.today().isoformat()}",
        f"Machine: {cpu_name()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"Threads: {threads}; {describe_load(load)}",
        f"Here: Python {platform.python_version()}, {versions(OURS)}",
    ]
    theirs = peer_versions(peer_python) if peer_python else ""
    if theirs:
        lines.append(f"Peer: {theirs}")
    return lines
