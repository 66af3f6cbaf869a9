"""A model's decoder layers one after another, each with what the changed ones before it give: the way of all calibration.

Enters: a model and rows of token ids of one length. Leaves: its linear layers by name, and layer after layer what they see.
Never: holds the inputs of more than one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from luthier.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUPS = (128, 64, 32)
"""Columns that share a scale: the largest that divides the inputs of every layer."""

REMEDY = "Export it as safetensors, or as gguf where that knows the model."

Run = Callable[[Tensor], Tensor]


def find_linears(model: PreTrainedModel, multiple: int = 32) -> dict[str, nn.Linear]:
    """The linear layers inside the decoder's layers, by name.

    Raises ExportError for a model whose files could not be quantised: a width that is no multiple, experts in one tensor.
    """
    found: dict[str, nn.Linear] = {}
    layers = _layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    for name, module in layers.named_modules():
        if isinstance(module, nn.Linear):
            found[f"{prefix}.{name}"] = module
    for name, parameter in layers.named_parameters():
        if parameter.dim() > 2:
            raise ExportError(f"{prefix}.{name} holds several experts in one; quantised files here hold none of those.", REMEDY)
    for name, linear in found.items():
        if linear.in_features % multiple or linear.out_features % multiple:
            shape = f"{linear.out_features} x {linear.in_features}"
            raise ExportError(f"{name} is {shape}; quantised files hold multiples of {multiple}.", REMEDY)
    if not found:
        raise ExportError(f"{type(model).__name__} has no linear layers to quantise.", REMEDY)
    return found


def group_size(linears: dict[str, nn.Linear]) -> int:
    return next(size for size in GROUPS if all(linear.in_features % size == 0 for linear in linears.values()))


@torch.no_grad()
def walk(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Iterator[tuple[nn.Module, Run, list[Tensor]]]:
    """(layer, run, states): run(state) is the layer's output for one of the states that enter it, each (1, T, D).

    rows: token ids, all of one length.  What is done to the layer before the next one is asked for is what the next one sees.
    """
    model.eval()
    device = model.get_input_embeddings().weight.device
    ids = [torch.tensor([list(row)], device=device) for row in rows]
    options = _options(model, ids[0])
    states = [_first_input(model, row) for row in ids]
    for layer, more in zip(_layers(model), options):
        run = _runner(layer, more)
        yield layer, run, states
        states = [run(state) for state in states]


def in_order(layer: nn.Module, run: Run, state: Tensor) -> list[list[nn.Linear]]:
    """The layer's linears in the order in which they run; those that get the same input together."""
    groups: list[tuple[Tensor, list[nn.Linear]]] = []

    def hook(module: nn.Linear, args: tuple[Any, ...]) -> None:
        together = next((linears for entered, linears in groups if entered is args[0]), None)
        if together is None:
            groups.append((args[0], [module]))
        else:
            together.append(module)

    with hooked([each.register_forward_pre_hook(hook) for each in layer.modules() if isinstance(each, nn.Linear)]):
        run(state)
    return [group for _, group in groups]


def hessians(linears: Sequence[nn.Linear], run: Run, states: Sequence[Tensor]) -> list[Tensor]:
    """For each of these linears of one layer the mean of x x^T over all tokens that it gets, float32 (I, I)."""
    totals = [torch.zeros(each.in_features, each.in_features, device=each.weight.device) for each in linears]

    def adding_to(total: Tensor) -> Callable[[nn.Linear, tuple[Any, ...]], None]:
        def hook(module: nn.Linear, args: tuple[Any, ...]) -> None:
            inputs = args[0].reshape(-1, module.in_features).float()
            total.addmm_(inputs.T, inputs, alpha=1 / (len(states) * len(inputs)))

        return hook

    with hooked([linear.register_forward_pre_hook(adding_to(total)) for linear, total in zip(linears, totals)]):
        for state in states:
            run(state)
    return totals


@contextmanager
def hooked(handles: Sequence[Any]) -> Iterator[None]:
    """The hooks are gone afterwards, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ExportError(f"{type(model).__name__} has no list of layers to go through.", REMEDY)
    return layers


def _runner(layer: nn.Module, options: dict[str, Any]) -> Run:
    def run(state: Tensor) -> Tensor:
        out = layer(state, **options)
        return out[0] if isinstance(out, tuple) else out

    return run


def _options(model: PreTrainedModel, row: Tensor) -> list[dict[str, Any]]:
    """What the decoder gives each layer beside the states (positions, masks): the same for all rows of this length."""
    found: list[dict[str, Any]] = []
    hook = lambda module, args, kwargs: found.append(kwargs)  # noqa: E731
    with hooked([layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in _layers(model)]):
        model(input_ids=row, use_cache=False)
    return [{key: value for key, value in each.items() if key != "hidden_states"} for each in found]


class _Enough(Exception):
    """The first layer has its input."""


def _first_input(model: PreTrainedModel, row: Tensor) -> Tensor:
    found: list[Tensor] = []

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Enough

    with hooked([_layers(model)[0].register_forward_pre_hook(hook, with_kwargs=True)]):
        try:
            model(input_ids=row, use_cache=False)
        except _Enough:
            return found[0]
    raise ExportError(f"{type(model).__name__} does not run its layers in their order.", REMEDY)
