"""Optimizers by the names of transformers' `optim`, and which parameters decay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.registry import nearest

OPTIMIZERS = {
    "adamw_torch": "AdamW",
    "adamw_torch_fused": "AdamW",
    "adamw_hf": "AdamW",
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adafactor": "Adafactor",
}
"""`optim` -> class of torch.optim."""

_BETAS = {"AdamW"}
_EPSILON = {"AdamW", "RMSprop", "Adagrad"}


def parameter_groups(model: nn.Module, config: Config) -> list[dict]:
    """The learning parameters in groups of (weight decay, learning rate). Biases and norms never decay, as in transformers.

    With loraplus_lr_ratio the lora_B matrices learn that many times faster (Hayou et al. 2024, arXiv:2402.12354) and LoRA on
    embeddings at loraplus_lr_embedding.
    """
    norms = {
        id(p) for module in model.modules() if "norm" in type(module).__name__.lower() for p in module.parameters(recurse=False)
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = 0.0 if id(parameter) in norms or name.endswith("bias") else config.weight_decay
        groups.setdefault((decay, _learning_rate(name, parameter, config)), []).append(parameter)
    return [{"params": params, "weight_decay": decay, "lr": rate} for (decay, rate), params in groups.items()]


def _learning_rate(name: str, parameter: nn.Parameter, config: Config) -> float:
    if config.loraplus_lr_ratio is None:
        return config.learning_rate
    if "lora_embedding" in name:
        return config.loraplus_lr_embedding
    faster = "lora_B" in name or (parameter.ndim == 1 and "lora" in name)
    return config.learning_rate * config.loraplus_lr_ratio if faster else config.learning_rate


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Raises ConfigError for an `optim` that is not built."""
    name = str(config.optim)
    if name not in OPTIMIZERS:
        close = nearest(name, OPTIMIZERS)
        raise ConfigError(
            f'optim "{name}" is not built.', f"{f'Did you mean {close[0]}? ' if close else ''}Built: {', '.join(OPTIMIZERS)}."
        )
    kind = OPTIMIZERS[name]
    options: dict = {"lr": config.learning_rate}
    if kind in _BETAS:
        options |= {"betas": (config.adam_beta1, config.adam_beta2), "fused": _fuses(model.parameters())}
    if kind in _EPSILON:
        options |= {"eps": config.adam_epsilon}
    return getattr(torch.optim, kind)(parameter_groups(model, config), **(options | _parsed(config.optim_args)))


def _fuses(parameters: Iterable[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters if p.requires_grad)


def _parsed(optim_args: str | None) -> dict:
    """ "momentum=0.9,nesterov=true" -> {"momentum": 0.9, "nesterov": True}"""
    options = {}
    for item in filter(None, (optim_args or "").replace(" ", "").split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f'optim_args: "{item}" is not key=value.', "Write optim_args as key=value,key=value.")
        words = {"true": True, "false": False}
        try:
            options[key] = words[value.lower()] if value.lower() in words else float(value)
        except ValueError as error:
            raise ConfigError(f'optim_args: value "{value}" of "{key}" is neither a number nor true/false.') from error
    return options
