"""Which device a run uses, and how much memory it has.

Enters: the config. Leaves: a Device. Never moves a tensor and never allocates on the device.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from luthier.config import Config

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CGROUP_USES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device. kind: cpu, cuda, mps, xpu, npu.  index: which of several.  name: as its maker calls it.

    bfloat16: whether it multiplies bfloat16, where that is known without having it; None: ask the device."""

    kind: str
    index: int | None = None
    name: str = ""
    bfloat16: bool | None = None

    @property
    def torch(self) -> torch.device:
        import torch

        return torch.device(self.kind, self.index) if self.index is not None else torch.device(self.kind)

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


def pick_device(config: Config) -> Device:
    """The accelerator of this process (LOCAL_RANK under torchrun) where there is one, else the CPU; use_cpu forces the CPU."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if config.use_cpu or accelerator is None:
        return Device(kind="cpu", name=_cpu_name())
    if accelerator.type == "mps":
        return Device(kind="mps", name="Apple GPU")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    module = torch.get_device_module(accelerator)
    return Device(kind=accelerator.type, index=index, name=module.get_device_name(index))


def memory(device: Device) -> tuple[int, int]:
    """(free, total) bytes of the device; of a container's limit where that is smaller than the machine."""
    import torch

    if device.kind == "cpu":
        return _cpu_memory()
    if device.kind == "mps":
        total = torch.mps.recommended_max_memory()
        return total - torch.mps.driver_allocated_memory(), total
    free, total = torch.get_device_module(device.torch).mem_get_info(device.torch)
    return free, total


def _cpu_memory() -> tuple[int, int]:
    import psutil

    machine = psutil.virtual_memory()
    free, total = machine.available, machine.total
    limit, used = (_first_number(files) for files in (CGROUP_LIMITS, CGROUP_USES))
    if limit is not None and used is not None and limit < total:
        return min(free, max(limit - used, 0)), limit
    return free, total


def _first_number(files: tuple[str, ...]) -> int | None:
    for file in map(Path, files):
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdigit():  # "max" where there is no limit
            return int(text)
    return None


def _cpu_name() -> str:
    import platform

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
