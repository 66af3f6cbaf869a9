"""A model's layers rounded by GPTQ, one after another: each sees what the rounded ones before it give.

Enters: a model and rows of token ids of one length. Leaves: the Rounded weights by name, and the model with these weights in.
Never: holds the inputs of more than one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from luthier.errors import ExportError
from luthier.exporters.gptq_solve import Rounded, solve

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUPS = (128, 64, 32)
"""Columns that share a scale: the largest that divides the inputs of every layer."""


def find_linears(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear layers inside the decoder's layers, by name. Raises ExportError for a model that GPTQ files cannot hold."""
    found: dict[str, nn.Linear] = {}
    layers = _layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    for name, module in layers.named_modules():
        if isinstance(module, nn.Linear):
            found[f"{prefix}.{name}"] = module
    for name, parameter in layers.named_parameters():
        if parameter.dim() > 2:
            raise ExportError(f"{prefix}.{name} holds several experts in one; GPTQ files here hold none of those.", REMEDY)
    for name, linear in found.items():
        if linear.in_features % 32 or linear.out_features % 32:
            shape = f"{linear.out_features} x {linear.in_features}"
            raise ExportError(f"{name} is {shape}; GPTQ packs multiples of 32.", REMEDY)
    if not found:
        raise ExportError(f"{type(model).__name__} has no linear layers to quantise.", REMEDY)
    return found


REMEDY = "Export it without export_quantization_bit, or as gguf."


def group_size(linears: dict[str, nn.Linear]) -> int:
    return next(size for size in GROUPS if all(linear.in_features % size == 0 for linear in linears.values()))


@torch.no_grad()
def round_layers(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], *, bits: int, group: int, on_layer: Callable[[int], None]
) -> dict[str, Rounded]:
    """rows: token ids, all of one length.  on_layer: told how many layers are done."""
    model.eval()
    names = {id(linear): name for name, linear in find_linears(model).items()}
    device = model.get_input_embeddings().weight.device
    ids = [torch.tensor([list(row)], device=device) for row in rows]
    options = _options(model, ids[0])
    states = [_first_input(model, row) for row in ids]
    rounded: dict[str, Rounded] = {}
    for number, (layer, more) in enumerate(zip(_layers(model), options)):
        run = _runner(layer, more)
        for linears in _in_order(layer, run, states[0]):
            hessian = _hessian(linears[0], run, states)
            for linear in linears:
                result = solve(linear.weight, hessian, bits=bits, group=group)
                linear.weight.copy_(result.weight)
                rounded[names[id(linear)]] = replace(result, codes=result.codes.cpu(), scales=result.scales.cpu())
        states = [run(state) for state in states]
        on_layer(number + 1)
    return rounded


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ExportError(f"{type(model).__name__} has no list of layers that GPTQ could go through.", REMEDY)
    return layers


def _runner(layer: nn.Module, options: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    def run(state: Tensor) -> Tensor:
        out = layer(state, **options)
        return out[0] if isinstance(out, tuple) else out

    return run


def _options(model: PreTrainedModel, row: Tensor) -> list[dict[str, Any]]:
    """What the decoder gives each layer beside the states (positions, masks): the same for all rows of this length."""
    found: list[dict[str, Any]] = []
    hook = lambda module, args, kwargs: found.append(kwargs)  # noqa: E731
    with _hooked([layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in _layers(model)]):
        model(input_ids=row, use_cache=False)
    return [{key: value for key, value in each.items() if key != "hidden_states"} for each in found]


class _Enough(Exception):
    """The first layer has its input."""


def _first_input(model: PreTrainedModel, row: Tensor) -> Tensor:
    found: list[Tensor] = []

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Enough

    with _hooked([_layers(model)[0].register_forward_pre_hook(hook, with_kwargs=True)]):
        try:
            model(input_ids=row, use_cache=False)
        except _Enough:
            return found[0]
    raise ExportError(f"{type(model).__name__} does not run its layers in their order.", REMEDY)


def _in_order(layer: nn.Module, run: Callable[[Tensor], Tensor], state: Tensor) -> list[list[nn.Linear]]:
    """The layer's linears in the order in which they run; those that get the same input together."""
    groups: list[tuple[Tensor, list[nn.Linear]]] = []

    def hook(module: nn.Linear, args: tuple[Any, ...]) -> None:
        if not groups or groups[-1][0] is not args[0]:
            groups.append((args[0], []))
        groups[-1][1].append(module)

    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    with _hooked([linear.register_forward_pre_hook(hook) for linear in linears]):
        run(state)
    return [group for _, group in groups]


def _hessian(linear: nn.Linear, run: Callable[[Tensor], Tensor], states: Sequence[Tensor]) -> Tensor:
    """Mean of x x^T over all tokens, float32 (I, I)."""
    total = torch.zeros(linear.in_features, linear.in_features, device=linear.weight.device)

    def hook(module: nn.Linear, args: tuple[Any, ...]) -> None:
        inputs = args[0].reshape(-1, linear.in_features).float()
        total.addmm_(inputs.T, inputs, alpha=1 / (len(states) * len(inputs)))

    with _hooked([linear.register_forward_pre_hook(hook)]):
        for state in states:
            run(state)
    return total


@contextmanager
def _hooked(handles: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
