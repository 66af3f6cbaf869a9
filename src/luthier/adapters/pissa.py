"""PiSSA (Meng et al. 2024, arXiv:2404.02948): LoRA that starts from the main singular vectors of each weight.

Attaching splits every weight W into a frozen rest and a trainable s B0 A0. Saved is an ordinary LoRA of twice the rank,
([A; A0], [B, -B0]), because that is exact on the untouched base: W + s (B A - B0 A0), with no second decomposition when loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

START = "start"  # name of a second, frozen adapter that holds A0 and B0


def initialiser(iterations: int) -> str:
    """peft's name of the method. iterations: of the fast decomposition; -1 for the exact one."""
    return "pissa" if iterations < 0 else f"pissa_niter_{iterations}"


def keep_start(net: PeftModel) -> None:
    """Remember A0 and B0 of a net that was just made."""
    settings = replace(net.peft_config["default"], init_lora_weights=False, inference_mode=True)
    net.add_adapter(START, settings)
    for layer in lora_layers(net):
        for factors in (layer.lora_A, layer.lora_B):
            factors[START].weight.data.copy_(factors["default"].weight.data)
    net.set_adapter("default")


def has_start(net: PeftModel) -> bool:
    return START in net.peft_config


@contextmanager
def at_start(net: PeftModel) -> Iterator[None]:
    """Within it the net answers as the base did: the frozen rest plus s B0 A0."""
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    net.set_adapter(START, inference_mode=True)
    try:
        yield
    finally:
        net.set_adapter("default")
        for parameter in learning:
            parameter.requires_grad_(True)


def to_plain(net: PeftModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an ordinary LoRA of twice the rank, given those of adapter "default" by peft's names."""
    plain = dict(state)
    for name, layer in named_lora_layers(net):
        a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        plain[a] = torch.cat([state[a], layer.lora_A[START].weight.data])
        plain[b] = torch.cat([state[b], -layer.lora_B[START].weight.data], 1)
    return plain


def plain_config(settings: LoraConfig) -> LoraConfig:
    """The settings that go with to_plain: twice the rank with the same scaling s."""
    growth = 2**0.5 if settings.use_rslora else 2  # s = alpha / sqrt(r) or alpha / r
    alpha = settings.lora_alpha * growth
    return replace(settings, r=2 * settings.r, lora_alpha=int(alpha) if alpha == int(alpha) else alpha, init_lora_weights=True)


def from_plain(net: PeftModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of to_plain, for resuming: puts A0, B0 and the frozen rest of the file into net, returns A and B."""
    plain = dict(state)
    for name, layer in named_lora_layers(net):
        a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        rank = layer.r["default"]
        plain[a], plain[b] = state[a][:rank].contiguous(), state[b][:, :rank].contiguous()
        _restore_start(layer, state[a][rank:], -state[b][:, rank:])
    return plain


def _restore_start(layer: torch.nn.Module, a0: Tensor, b0: Tensor) -> None:
    here_a, here_b = layer.lora_A[START].weight.data, layer.lora_B[START].weight.data
    a0, b0 = a0.to(here_a), b0.to(here_b)
    if torch.equal(a0, here_a) and torch.equal(b0, here_b):
        return  # the same decomposition came out: the frozen rest is the file's, bit for bit
    weight = layer.get_base_layer().weight
    weight.data = (weight.data.float() + layer.scaling["default"] * (here_b @ here_a - b0 @ a0)).to(weight.dtype)
    here_a.copy_(a0)
    here_b.copy_(b0)


def named_lora_layers(net: PeftModel) -> Iterator[tuple[str, torch.nn.Module]]:
    """Layers that hold LoRA factors, by the names that peft gives them in files."""
    for name, module in net.named_modules():
        if "default" in getattr(module, "lora_A", ()):
            yield name, module


def lora_layers(net: PeftModel) -> list[torch.nn.Module]:
    return [layer for _, layer in named_lora_layers(net)]
