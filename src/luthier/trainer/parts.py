"""The trainer's tensors of a checkpoint, in one safetensors file a process; read back by any number of processes.

trainer/tensors.safetensors is process 0's, tensors-1.safetensors that of process 1 ... A tensor that lies in parts (trainer/
sharding.py) is written where its rows are, with their place; one that is the same everywhere by process 0 alone. Each process
writes its own random states. (torch.distributed.checkpoint would keep its index as a pickle.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from luthier.trainer.sharding import part_like, rows_of

RANDOM = "random/"


def part_file(folder: Path, rank: int) -> Path:
    return folder / "trainer" / (f"tensors-{rank}.safetensors" if rank else "tensors.safetensors")


def write_part(folder: Path, rank: int, tensors: Mapping[str, Tensor]) -> None:
    """What this process is to write of tensors."""
    mine: dict[str, Tensor] = {}
    places: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            first, last = rows_of(tensor)
            places[name] = [first, *tensor.shape]
            if first < last:
                mine[name] = tensor.to_local()
        elif rank == 0 or name.startswith(RANDOM):
            mine[name] = tensor
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in mine.items()}
    save_file(plain, part_file(folder, rank), metadata={"places": json.dumps(places)})


class Parts:
    """The tensors of a checkpoint: names, and each of them whole or as another tensor is laid out."""

    def __init__(self, folder: Path):
        self._where: dict[str, list[tuple[Path, int]]] = {}  # name -> files that hold rows of it, with the first row
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._random: list[dict[str, Tensor]] = []
        files = sorted((folder / "trainer").glob("tensors*.safetensors"), key=_number)
        for file in files:
            with safe_open(file, framework="pt") as source:
                places = json.loads((source.metadata() or {}).get("places", "{}"))
                names = list(source.keys())
                self._random.append({name: source.get_tensor(name) for name in names if name.startswith(RANDOM)})
                for name in names:
                    first, *shape = places.get(name, [0, *source.get_slice(name).get_shape()])
                    if not name.startswith(RANDOM):
                        self._where.setdefault(name, []).append((file, first))
                        self._shapes[name] = tuple(shape)

    @property
    def names(self) -> list[str]:
        return list(self._where)

    def random(self, rank: int, world_size: int) -> dict[str, Tensor]:
        """The random states that process had; where there were another number of processes, those of the first."""
        return self._random[rank if len(self._random) == world_size else 0]

    def get(self, name: str, like: Tensor) -> Tensor:
        """The tensor, in parts as `like` if that lies in parts and has its shape; else whole."""
        shape = self._shapes[name]
        if not (isinstance(like, DTensor) and shape == tuple(like.shape)):
            return self._rows(name, 0, shape[0]) if shape else self._scalar(name)
        return part_like(self._rows(name, *rows_of(like)), like)

    def _scalar(self, name: str) -> Tensor:
        with safe_open(self._where[name][0][0], framework="pt") as source:
            return source.get_tensor(name)

    def _rows(self, name: str, first: int, last: int) -> Tensor:
        found: Tensor | None = None
        for file, begin in self._where[name]:
            with safe_open(file, framework="pt") as source:
                there = source.get_slice(name)
                end = begin + there.get_shape()[0]
                start, stop = max(first, begin), min(last, end)
                if found is None:  # an empty slice knows the number format
                    found = torch.empty((last - first, *self._shapes[name][1:]), dtype=there[0:0].dtype)
                if start < stop:
                    found[start - first : stop - first] = there[start - begin : stop - begin]
        assert found is not None
        return found


def _number(file: Path) -> int:
    return int(file.stem.partition("-")[2] or 0)
