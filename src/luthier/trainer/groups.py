"""Which parameters an optimizer moves, in groups of one learning rate and one decay, and the options that config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from luthier.config import Config
from luthier.errors import ConfigError

WORDS = ("std", "reverse_std", "right", "left", "full", "svd", "random", "channel", "tensor", "float32", "bfloat16", "float16")
"""What an option of optim_args may say besides numbers, true and false."""


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


SET = {"params", "lr", "weight_decay", "betas", "kind", "bits", "warmup"}
"""Arguments of optimizers that are no options of optim_args: they come from `optim`, learning_rate, adam_beta1 ..."""


def known(kind: type, given: Mapping, optim: str) -> dict:
    """given, options that the class `kind` has. Raises ConfigError for others."""
    has = sorted(set(inspect.signature(kind).parameters) - SET)
    if unknown := sorted(given.keys() - has):
        raise ConfigError(f"optim_args: {optim} has no {unknown[0]}.", f"It has {', '.join(has) or 'no options'}.")
    return dict(given)


def adam_options(config: Config) -> dict:
    return {"lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_epsilon}


def parsed(optim_args: str | None) -> dict:
    """ "momentum=0.9,nesterov=true" -> {"momentum": 0.9, "nesterov": True}"""
    options = {}
    for item in filter(None, (optim_args or "").replace(" ", "").split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f'optim_args: "{item}" is not key=value.', "Write optim_args as key=value,key=value.")
        words = {"true": True, "false": False} | {word: word for word in WORDS}
        try:
            options[key] = words[value.lower()] if value.lower() in words else float(value)
        except ValueError as error:
            raise ConfigError(f'optim_args: value "{value}" of "{key}" is neither a number nor true/false.') from error
    return options
