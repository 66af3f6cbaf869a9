"""A quantised base in parts: what each of its layers is made of as plain bytes, which FSDP2 cuts like any weight.

Libraries keep a quantised layer in several tensors (packed numbers, scales, zeros) of types that cannot be cut, some of them in
no list of parameters. Here all those of one layer are laid in one row of bytes, a frozen parameter of that layer; their tensors
become windows into the row: filled while the layer is gathered, without memory in between. No number changes and no library is
told. (FSDP2 itself would turn bitsandbytes' weights into plain ones that have lost their scales.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from luthier.errors import ConfigError

ROW = "quantised_row"
ALIGNED = 64
"""Bytes: each tensor begins at a multiple of it, as an allocator would have it."""
PLACES = (
    "weight", "weight.quant_state.absmax", "weight.quant_state.state2.absmax",  # bitsandbytes, 4 bits
    "weight.CB", "weight.SCB", "state.CB", "state.SCB",  # bitsandbytes, 8 bits
    "W_q", "meta.scale", "meta.zero",  # HQQ
)  # fmt: skip
"""Where a quantised layer keeps what grows with it. Code books of some hundred bytes, which layers share, stay whole."""


def into_row(owner: nn.Module, device: torch.device) -> set[nn.Parameter]:
    """Give owner a parameter ROW, on device, with the bytes of the quantised layers inside that lie in no row yet.

    Returns the parameters of all such layers inside, which are windows from now on and for FSDP2 to pass over. They are empty
    until owner's first forward pass after fully_shard. Raises ConfigError where a layer cannot be moved to device.
    """
    layers = [module for module in owner.modules() if _numbers(module) is not None]
    fresh = [layer for layer in layers if any(tensor.untyped_storage().nbytes() for tensor in tensors_of(layer))]
    for layer in fresh:
        _move(layer, device)
    if fresh:
        _into_row(owner, [tensor for layer in fresh for tensor in tensors_of(layer)])
    return {_numbers(layer) for layer in layers}


def tensors_of(layer: nn.Module) -> Iterator[Tensor]:
    """The plain tensors that a quantised layer is made of; none of one whose every number is a parameter that can be cut."""
    if _numbers(layer) is None:
        return
    for place in PLACES:
        found: Any = layer
        for name in place.split("."):
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        if hasattr(found, "__tensor_flatten__"):  # torchao's: a tensor made of tensors
            yield from (getattr(found, name) for name in found.__tensor_flatten__()[0])
        elif isinstance(found, Tensor):
            yield found


def _numbers(layer: nn.Module) -> nn.Parameter | None:
    """The parameter with a quantised layer's numbers, where it is no plain one or its scales are kept elsewhere."""
    if "W_q" in layer._parameters:
        return layer.W_q
    weight = layer._parameters.get("weight")
    if weight is None or isinstance(weight, DTensor):
        return None
    return weight if any(hasattr(weight, mark) for mark in ("quant_state", "SCB", "__tensor_flatten__")) else None


def _move(module: nn.Module, device: torch.device) -> None:
    if all(tensor.device == device for tensor in tensors_of(module)):
        return
    if not hasattr(_numbers(module), "quant_state"):
        raise ConfigError(
            f"one device cannot hold the quantised base before it is cut, and a {type(module).__name__} cannot be moved to it.",
            "Use quantization_method: bnb with quantization_bit: 4, whose layers can, or more memory.",
        )
    module.to(device)


@torch.no_grad()
def _into_row(owner: nn.Module, tensors: list[Tensor]) -> None:
    starts: dict[int, int] = {}  # where a tensor's numbers lie -> where they will; several may be windows on the same ones
    size = 0
    for tensor in tensors:
        if tensor.data_ptr() not in starts:
            starts[tensor.data_ptr()] = size
            size += -(-_span(tensor) * tensor.element_size() // ALIGNED) * ALIGNED
    row = torch.zeros(size, dtype=torch.uint8, device=tensors[0].device)
    places = [(tensor, starts[tensor.data_ptr()]) for tensor in tensors]
    for tensor, start in places:
        numbers = tensor.as_strided((_span(tensor),), (1,)).view(torch.uint8)
        row[start : start + len(numbers)] = numbers
    nowhere = torch.empty_like(row).untyped_storage()
    _look_into(nowhere, places)
    nowhere.resize_(0)
    owner.register_parameter(ROW, nn.Parameter(row, requires_grad=False))

    def first_time(module: nn.Module, args: object) -> None:
        """FSDP2 has gathered the row just now, into memory that it gives back and takes again but never exchanges."""
        _look_into(module.get_parameter(ROW).untyped_storage(), places)
        hook.remove()

    hook = owner.register_forward_pre_hook(first_time)


@torch.inference_mode()  # HQQ makes its scales in it, which may be changed nowhere else
def _look_into(storage: torch.UntypedStorage, places: list[tuple[Tensor, int]]) -> None:
    for tensor, start in places:
        tensor.set_(storage, start // tensor.element_size(), tensor.shape, tensor.stride())


def _span(tensor: Tensor) -> int:
    """Numbers from a tensor's first to its last in memory."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else 0
