"""Several processes, one training: each takes its share of a step's samples; gradients are summed.

Started by runtime/crew.py, torchrun or another launcher, which say rank and world size in the environment; else one process.
The loss of a step is a sum divided by the count of the whole step, so the sum of the ranks' gradients is the gradient of one
process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from luthier.errors import TrainingError

if TYPE_CHECKING:
    from luthier.runtime.crew import Crew

BUCKET_BYTES = 64 * 2**20


class Parallel:
    """rank 0 of 1 unless a launcher started us. timeout_s: how long a rank waits for the others (ddp_timeout).
    crew: the other processes, where this one started them."""

    def __init__(self, device: torch.device, timeout_s: float = 1800.0, crew: Crew | None = None):
        self._crew = crew
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        if self.world_size > 1 and not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=min(timeout_s, 10 * 365 * 86400)))

    @contextmanager
    def partners(self) -> Iterator[None]:
        """with parallel.partners(): what fails inside because another process is gone raises a TrainingError that says so."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            if self.world_size == 1:
                raise
            lost = self._crew.casualty(wait_s=5.0) if self._crew else None
            if lost is None and not _is_lost_connection(error):
                raise
            reason = lost or f"another process of this training has ended or cannot be reached ({str(error).splitlines()[0]})"
            raise TrainingError(
                f"{reason}.", "What was saved is good: the same command goes on from the last checkpoint."
            ) from error

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks, in place; a parameter without gradient counts as zero."""
        if self.world_size == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if bucket and (size > BUCKET_BYTES or bucket[0].dtype != parameter.grad.dtype):
                self._sum_bucket(bucket)
                bucket, size = [], 0
            bucket.append(parameter.grad)
            size += parameter.grad.numel() * parameter.grad.element_size()
        if bucket:
            self._sum_bucket(bucket)

    def _sum_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, piece in zip(bucket, flat.split([gradient.numel() for gradient in bucket])):
            gradient.copy_(piece.view_as(gradient))

    def sum_numbers(self, numbers: list[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        if self.world_size == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def sum_named(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[float, float]]:
        """Each (sum, count) added up over the ranks, in float64. A rank that met no batch may lack names that others have."""
        mine = {name: (float(total), float(count)) for name, (total, count) in sums.items()}
        if self.world_size == 1:
            return mine
        everyone: list[Any] = [None] * self.world_size
        dist.all_gather_object(everyone, mine)
        added: dict[str, tuple[float, float]] = {}
        for name, (total, count) in (entry for theirs in everyone for entry in theirs.items()):
            before = added.get(name, (0.0, 0.0))
            added[name] = (before[0] + total, before[1] + count)
        return added

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; the same answer on all."""
        return self.sum_numbers([float(flag)])[0] > 0

    def same_everywhere(self, value: object) -> object:
        """Rank 0's value (anything that pickles between our own processes: numbers, names), on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def _is_lost_connection(error: BaseException) -> bool:
    """gloo raises plain RuntimeErrors; NCCL and the store raise subclasses of DistError."""
    words = ("connection closed by peer", "connection reset by peer", "broken pipe", "timed out waiting", "connect to")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)
