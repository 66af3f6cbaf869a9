"""Weights, gradients and optimizer state in parts, one a device: torch's FSDP2, put on and seen through.

Enters: a Compute whose model is whole, and a Sharding (config/sharding.py). Leaves: the same modules, each layer gathered while
it computes; the parameters are DTensors cut along their first dimension. Never changes a number: gradients are summed
over the devices as without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from luthier.errors import ConfigError
from luthier.runtime.allocator import give_back
from luthier.runtime.files import size_text
from luthier.trainer.quantised import into_row

if TYPE_CHECKING:
    from luthier.config.sharding import Sharding
    from luthier.trainer.compute import Compute

logger = logging.getLogger(__name__)


def shard(compute: Compute, sharding: Sharding, device: torch.device, world_size: int) -> None:
    """Cut every parameter of compute (and of a reference model in it) into world_size parts and keep this process's.

    The model may lie in the CPU's memory: layer by layer it goes to device. Raises ConfigError where it has no such layers, or
    where what learns together is of two number formats.
    """
    mesh = init_device_mesh(device.type, (world_size,))
    offload = CPUOffloadPolicy() if sharding.offload and device.type != "cpu" else OffloadPolicy()
    layers = [layer for model in _models(compute) for layer in _layers(model, sharding)]
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    outside = [p for p in compute.parameters() if id(p) not in inside]
    for parameters in (*(list(layer.parameters()) for layer in layers), outside):
        formats = sorted({str(p.dtype).removeprefix("torch.") for p in parameters if p.requires_grad})
        if len(formats) > 1:
            raise ConfigError(
                f"{sharding.said}: weights of {' and '.join(formats)} learn in one layer, which cannot be cut together.",
                "Use bf16: true instead of pure_bf16, or train without it.",
            )
    windows: set[nn.Parameter] = set()
    for module in (*layers, compute):
        windows |= into_row(module, device)
        again = sharding.reshard and module is not compute  # embeddings and head serve from the first token to the last
        cut = fully_shard(module, mesh=mesh, reshard_after_forward=again, offload_policy=offload, ignored_params=windows)
        cut.set_gradient_divide_factor(1.0)
        cut.set_force_sum_reduction_for_comms(True)  # gradients are summed as they are: float16 has no room for a factor
    if device.type == "cpu":
        give_back()
    if whole := sum(buffer.nbytes for layer in layers for buffer in layer.buffers() if not buffer.is_floating_point()):
        logger.warning("%s: %s of this base are no parameters and lie whole on every device.", sharding.said, size_text(whole))


def settle(compute: Compute) -> None:
    """After passes without a backward pass: give back what is gathered, so that parameters() are the parts again."""
    for module in compute.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def whole(model: nn.Module, *, everything: bool, here: bool = True) -> Iterator[None]:
    """Inside, on the processes where here is true, the parameters of model that learn (or everything) are whole, on the CPU.

    Called by every process. What is written into them inside is lost afterwards.
    """
    found: dict[int, Tensor] = {}
    for parameter in model.parameters():
        if isinstance(parameter, DTensor) and (everything or parameter.requires_grad):
            part = parameter.detach().to(parameter.device_mesh.device_type)  # it may wait in the CPU's memory
            gathered = part.full_tensor()  # all processes take part, one parameter at a time
            if here:
                found[id(parameter)] = gathered.cpu()
    with _swapped(model, found):
        yield


@contextmanager
def filled(model: nn.Module, *, everything: bool) -> Iterator[None]:
    """Inside, the parameters of model that learn (or everything) are whole and empty, to be written into; afterwards each
    process keeps its parts of what was written."""
    empty = {
        id(p): torch.empty(p.shape, dtype=p.dtype)
        for p in model.parameters()
        if isinstance(p, DTensor) and (everything or p.requires_grad)
    }
    with _swapped(model, empty):
        yield
    with torch.no_grad():
        for parameter in model.parameters():
            if (tensor := empty.get(id(parameter))) is not None:
                first, last = rows_of(parameter)
                parameter.to_local().copy_(tensor[first:last])


def rows_of(tensor: DTensor) -> tuple[int, int]:
    """[first, last) of the rows that lie on this process, cut as torch.chunk does.

    >>> # 5 rows on 2 processes: (0, 3), (3, 5); on 4: (0, 2), (2, 4), (4, 5), (5, 5)
    """
    rows, mesh = tensor.shape[0], tensor.device_mesh
    size = -(-rows // mesh.size())
    first = min(rows, size * mesh.get_local_rank())
    return first, min(rows, first + size)


def part_like(rows: Tensor, like: DTensor) -> DTensor:
    """The rows of this process, laid out as `like`, of the same shape."""
    local = like.to_local()
    return DTensor.from_local(
        rows.to(local.device), like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


@contextmanager
def _swapped(model: nn.Module, tensors: dict[int, Tensor]) -> Iterator[None]:
    places = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and id(parameter) in tensors
    ]
    hooks = {id(module): (module, module._load_state_dict_post_hooks) for module, _, _ in places}
    fresh = {id(p): nn.Parameter(tensors[id(p)], requires_grad=p.requires_grad) for _, _, p in places}
    try:
        for module, name, parameter in places:
            module._parameters[name] = fresh[id(parameter)]
        for module, _ in hooks.values():  # by them FSDP looks for its parts after each load_state_dict
            module._load_state_dict_post_hooks = type(module._load_state_dict_post_hooks)()
        yield
    finally:
        for module, own in hooks.values():
            module._load_state_dict_post_hooks = own
        for module, name, parameter in places:
            module._parameters[name] = parameter


def _models(compute: Compute) -> list[nn.Module]:
    return [scorer.model for scorer in (compute.scorer, compute.second) if scorer is not None]


def _layers(model: nn.Module, sharding: Sharding) -> list[nn.Module]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = sharding.layers or tuple(getattr(base, "_no_split_modules", None) or ())
    found = [module for module in base.modules() if type(module).__name__ in names]
    if sharding.layers and not found:
        own = ", ".join(sorted(getattr(base, "_no_split_modules", None) or ())) or "none that are known"
        raise ConfigError(
            f"transformer_layer_cls_to_wrap: this model has no {', '.join(sharding.layers)}.", f"Its layers: {own}."
        )
    if not found:
        found = list(max((m for m in base.modules() if isinstance(m, nn.ModuleList)), key=len, default=[]))
    return [layer for layer in found if sum(p.numel() for p in layer.parameters()) >= max(1, sharding.min_num_params)]
