"""AWQ's scales: what enters a linear layer is divided, its weights are multiplied, so that inputs that are large lose less.

Enters: a decoder layer and what enters it. Leaves: the same function, its weights ready to be rounded. Never: rounds.
The division is done by what comes before (a norm, or the linear layer whose outputs enter), which is found by trying: only
what leaves the layer's output as it was counts, so that no table of architectures is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from luthier.exporters.awq_round import round_groups
from luthier.exporters.walk import Run, hessians, hooked, in_order

STEPS = 20
"""Exponents that are tried, from 0 (plain rounding) on: section 3.2 of the paper."""

FLOOR = 0.01
"""Of the mean magnitude: an input that is never there would else be divided by nothing."""

Divide = Callable[[Tensor], None]


def scale_inputs(
    layer: nn.Module, run: Run, states: Sequence[Tensor], group: int
) -> list[tuple[list[nn.Linear], Tensor, bool]]:
    """(linears, importance, whether they were scaled) for each input of linear layers.

    importance: (I,) mean squares of the input, after scaling.  group: columns that will share a scale.
    """
    inputs = in_order(layer, run, states[0])
    found: list[tuple[list[nn.Linear], Tensor, bool]] = []
    for linears, hessian in zip(inputs, hessians([linears[0] for linears in inputs], run, states)):
        divide, importance = find_divider(layer, run, states[0], linears), hessian.diagonal()
        if divide is not None:
            scale = best_scale(linears, hessian, group)
            divide(scale)
            for linear in linears:
                linear.weight.mul_(scale)
            importance = importance / scale.square()
        found.append((linears, importance, divide is not None))
    return found


def best_scale(linears: Sequence[nn.Linear], hessian_II: Tensor, group: int) -> Tensor:
    """(I,), float32: of magnitude^alpha, alpha from 0 to 1, that with the least squared error of the outputs (equations 4, 5).

    With D = round(W s) / s - W that error is tr(D H D^T) for the mean H of x x^T.
    """
    magnitude = hessian_II.diagonal().sqrt()
    magnitude = magnitude.clamp(min=FLOOR * float(magnitude.mean()) or 1.0)
    best, least = torch.ones_like(magnitude), torch.inf
    for step in range(STEPS):
        scale = magnitude ** (step / STEPS)
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = 0.0
        for linear in linears:
            weight = linear.weight.detach().float()
            lost = round_groups(weight * scale, group).weight / scale - weight
            error += float(((lost @ hessian_II) * lost).sum())
        if error < least:
            best, least = scale, error
    return best


def find_divider(layer: nn.Module, run: Run, state: Tensor, linears: Sequence[nn.Linear]) -> Divide | None:
    """What divides the input of these linears by a scale (I,), and nothing else; None where nothing in the layer can."""
    width = linears[0].in_features
    scale = torch.linspace(0.5, 2, width, device=state.device)
    before = run(state)
    tolerance = 1e-3 if state.dtype == torch.float32 else 0.05
    for source, divide in _candidates(layer, run, state, linears[0]):
        changed = [parameter for module in (source, *linears) for parameter in module.parameters(recurse=False)]
        kept = [parameter.clone() for parameter in changed]
        divide(scale)
        for linear in linears:
            linear.weight.mul_(scale)
        after = run(state)
        for parameter, value in zip(changed, kept):
            parameter.copy_(value)
        if float((after - before).float().norm()) <= tolerance * float((before - state).float().norm()):
            return divide
    return None


def _candidates(layer: nn.Module, run: Run, state: Tensor, linear: nn.Linear) -> Iterator[tuple[nn.Module, Divide]]:
    """The modules that run before linear and could divide its input, the latest first, each in every way that it may work."""
    ran: list[nn.Module] = []
    with hooked([module.register_forward_pre_hook(lambda module, args: ran.append(module)) for module in layer.modules()]):
        run(state)
    width = linear.in_features
    for module in reversed(ran[: ran.index(linear)]):
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and module.out_features >= width:
            yield module, _dividing_rows(module, width)
        elif isinstance(weight, Tensor) and weight.shape == (width,):
            yield module, _dividing_norm(module, 0)
            yield module, _dividing_norm(module, 1)


def _dividing_rows(module: nn.Linear, width: int) -> Divide:
    """The last of a linear layer's outputs: those are the values where queries, keys and values, or gates, are one matrix."""

    def divide(scale: Tensor) -> None:
        module.weight[-width:].div_(scale[:, None])
        if module.bias is not None:
            module.bias[-width:].div_(scale)

    return divide


def _dividing_norm(module: nn.Module, offset: int) -> Divide:
    """A norm that multiplies by offset + weight: 1 in Gemma."""

    def divide(scale: Tensor) -> None:
        weight = module.weight.float()
        module.weight.copy_((weight + offset) / scale - offset)
        if isinstance(bias := getattr(module, "bias", None), Tensor):
            bias.div_(scale)

    return divide
