"""Several processes, one training: each takes its share of a step's samples; gradients are summed.

Started by runtime/crew.py, torchrun or another launcher, which say rank and world size in the environment; else one process.
The loss of a step is a sum divided by the count of the whole step, so the sum of the ranks' gradients is the gradient of one
process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from luthier.errors import ConfigError, TrainingError
from luthier.trainer.sharding import filled, settle, shard, whole

if TYPE_CHECKING:
    from luthier.config.sharding import Sharding
    from luthier.runtime.crew import Crew
    from luthier.trainer.compute import Compute

Item = TypeVar("Item")
BUCKET_MB = 64


class Parallel:
    """rank 0 of 1 unless a launcher started us. timeout_s: how long a rank waits for the others (ddp_timeout).
    backend: what devices talk through, nccl or gloo; None: the fastest.  bucket_mb: MiB of gradients that are summed at once.
    crew: the other processes, where this one started them."""

    def __init__(
        self,
        device: torch.device,
        timeout_s: float = 1800.0,
        crew: Crew | None = None,
        *,
        backend: str | None = None,
        bucket_mb: int | None = None,
    ):
        self._bucket_bytes = (bucket_mb or BUCKET_MB) * 2**20
        self._crew = crew
        self._sharded: Compute | None = None
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        if self.world_size > 1 and not dist.is_initialized():
            if backend == "nccl" and device.type != "cuda":
                raise ConfigError(
                    f"ddp_backend: nccl needs NVIDIA GPUs, and this training runs on {device.type}.", "Take it out."
                )
            backends = "gloo"
            if device.type == "cuda":
                torch.cuda.set_device(device)
                backends = f"cpu:gloo,cuda:{backend or 'nccl'}"  # weights that wait in the CPU's memory are gathered there
            dist.init_process_group(backends, timeout=timedelta(seconds=min(timeout_s, 10 * 365 * 86400)))

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

    # ---- in parts ----

    def shard(self, compute: Compute, sharding: Sharding) -> None:
        """From now on each rank holds its part of every parameter of compute (trainer/sharding.py)."""
        if self.world_size > 1:
            shard(compute, sharding, self.device, self.world_size)
            self._sharded = compute

    @property
    def is_sharded(self) -> bool:
        return self._sharded is not None

    def even(self, items: Iterable[Item], spare: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
        """The items, each with True. In parts, every rank must do as many passes as the one with the most: those that have
        fewer do the rest with an item that does not count (False); the first of spare where a rank has none."""
        if not self._sharded:
            yield from ((item, True) for item in items)
            return
        held = list(items)
        missing = self.most(len(held)) - len(held)  # before any pass: what ranks say to one another has an order
        yield from ((item, True) for item in held)
        for _ in range(missing):
            yield (held[0] if held else next(iter(spare))), False

    def most(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        if self.world_size == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def settle(self) -> None:
        """Give back what passes without gradients have left gathered."""
        if self._sharded:
            settle(self._sharded)

    def whole(self, model: nn.Module, *, everything: bool) -> AbstractContextManager[None]:
        """Inside, rank 0's model can be saved as if it lay in one piece. Entered by every rank."""
        self.settle()
        return whole(model, everything=everything, here=self.is_main) if self._sharded else nullcontext()

    def filled(self, model: nn.Module, *, everything: bool) -> AbstractContextManager[None]:
        """Inside, model can be loaded into as if it lay in one piece. Entered by every rank."""
        self.settle()
        return filled(model, everything=everything) if self._sharded else nullcontext()

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Scale the gradients down to a norm of limit at the most; returns the norm before, over all parts."""
        if not self._sharded:
            return float(nn.utils.clip_grad_norm_(parameters, limit))
        local = [p.grad.to_local() for p in parameters if p.grad is not None]
        mine = float(nn.utils.get_total_norm([part for part in local if part.numel()])) if local else 0.0
        norm = math.sqrt(self.sum_numbers([mine**2])[0])
        if norm > limit:
            torch._foreach_mul_(local, limit / (norm + 1e-6))
        return norm

    # ---- the same on every rank ----

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks, in place; a parameter without gradient counts as zero."""
        if self.world_size == 1 or self._sharded:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if bucket and (size > self._bucket_bytes or bucket[0].dtype != parameter.grad.dtype):
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

    def gather(self, items: list[Item]) -> list[Item]:
        """The items of all ranks, those of rank 0 first."""
        if self.world_size == 1:
            return items
        everyone: list[Any] = [None] * self.world_size
        dist.all_gather_object(everyone, items)
        return [item for theirs in everyone for item in theirs]

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
