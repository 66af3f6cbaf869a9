"""Optimizers by the names of transformers' `optim`, and which parameters decay."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec

import torch
from torch import nn

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.registry import nearest
from luthier.trainer.blocks import LAYER, BlockAdamW, blocks_of
from luthier.trainer.joined import Joined
from luthier.trainer.lowrank import LowRankAdamW
from luthier.trainer.muon import Muon

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

BITSANDBYTES = {
    "adamw_bnb_8bit": "AdamW8bit",
    "adamw_8bit": "AdamW8bit",
    "paged_adamw_32bit": "PagedAdamW32bit",
    "paged_adamw_8bit": "PagedAdamW8bit",
    "lion_32bit": "Lion32bit",
    "lion_8bit": "Lion8bit",
    "paged_lion_32bit": "PagedLion32bit",
    "paged_lion_8bit": "PagedLion8bit",
    "rmsprop_bnb": "RMSprop",
    "rmsprop_bnb_32bit": "RMSprop32bit",
    "rmsprop_bnb_8bit": "RMSprop8bit",
}
"""`optim` -> class of bitsandbytes.optim (GPU only)."""

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
    """Raises ConfigError for an `optim` that is not built, or that needs what is not here."""
    if config.use_galore or config.use_apollo:
        return _low_rank(model, config)
    if config.use_badam:
        return _by_blocks(model, config)
    if config.use_muon:
        return _muon(model, config)
    name = str(config.optim)
    if name in BITSANDBYTES:
        return _bitsandbytes(model, config, name)
    if name not in OPTIMIZERS:
        close = nearest(name, [*OPTIMIZERS, *BITSANDBYTES])
        raise ConfigError(
            f'optim "{name}" is not built.',
            f"{f'Did you mean {close[0]}? ' if close else ''}Built: {', '.join([*OPTIMIZERS, *BITSANDBYTES])}.",
        )
    kind = OPTIMIZERS[name]
    options: dict = {"lr": config.learning_rate}
    if kind in _BETAS:
        options |= {"betas": (config.adam_beta1, config.adam_beta2), "fused": _fuses(model.parameters())}
    if kind in _EPSILON:
        options |= {"eps": config.adam_epsilon}
    return getattr(torch.optim, kind)(parameter_groups(model, config), **(options | _parsed(config.optim_args)))


def _adam_options(config: Config) -> dict:
    return {"lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_epsilon}


def _low_rank(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """GaLore or APOLLO on the matrices that its target names, plain AdamW on the rest."""
    kind = "galore" if config.use_galore else "apollo"
    options = {
        "rank": getattr(config, f"{kind}_rank"),
        "interval": getattr(config, f"{kind}_update_interval"),
        "scale": getattr(config, f"{kind}_scale"),
        "proj_type": getattr(config, f"{kind}_proj_type"),
    }
    if kind == "apollo":
        options |= {
            "proj": config.apollo_proj,
            "scale_type": config.apollo_scale_type,
            "scale_front": config.apollo_scale_front,
        }
    targets = config.galore_target if config.use_galore else config.apollo_target
    chosen = {id(p) for p in _matrices(model, targets, f"{kind}_target")}
    groups = []
    for group in parameter_groups(model, config):
        low = [p for p in group["params"] if id(p) in chosen]
        rest = [p for p in group["params"] if id(p) not in chosen]
        groups += [group | {"params": params} | more for params, more in ((low, options), (rest, {})) if params]
    return LowRankAdamW(groups, kind=kind, seed=config.seed, **_adam_options(config))


def _matrices(model: nn.Module, targets: list[str], key: str) -> list[nn.Parameter]:
    """The learning weights of linear layers inside the hidden layers; targets: "all", or regular expressions found in names."""
    found = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.weight.requires_grad
        and LAYER.match(f"{name}.")
        and ("all" in targets or any(re.search(target, name) for target in targets))
    ]
    if not found:
        raise ConfigError(f"{key}: {', '.join(targets)} matches no linear layer that learns.", f"Set {key}: all")
    return found


def _by_blocks(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    blocks = blocks_of(model)
    if not blocks:
        raise ConfigError("use_badam: this model has no list of layers.", "Use adamw_torch.")
    inside = {id(p) for block in blocks for p in block}
    for parameter in model.parameters():
        if id(parameter) not in inside:
            parameter.requires_grad_(False)
    return BlockAdamW(
        parameter_groups(model, config),
        blocks,
        order=config.badam_switch_mode or "ascending",
        interval=config.badam_switch_interval or 50,
        start=config.badam_start_block,
        seed=config.seed,
        **_adam_options(config),
    )


def _muon(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Muon (Jordan et al. 2024) on the matrices of the hidden layers, AdamW on the rest."""
    chosen = {id(p) for p in _matrices(model, ["all"], "use_muon")}
    groups = parameter_groups(model, config)
    split = [
        [
            group | {"params": params}
            for group in groups
            if (params := [p for p in group["params"] if (id(p) in chosen) == inside])
        ]
        for inside in (True, False)
    ]
    muon = Muon(split[0], lr=config.learning_rate)
    return Joined([muon, torch.optim.AdamW(split[1], **_adam_options(config))] if split[1] else [muon])


def _bitsandbytes(model: nn.Module, config: Config, name: str) -> torch.optim.Optimizer:
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"optim {name} needs bitsandbytes, which is not installed.", "pip install 'luthier[bnb]'")
    if next(model.parameters()).device.type != "cuda":
        raise ConfigError(f"optim {name} keeps its state in 8 bits or in pages, which needs a GPU.", "Use optim: adamw_torch")
    import bitsandbytes

    kind = BITSANDBYTES[name]
    options: dict = {"lr": config.learning_rate}
    if "RMS" not in kind:
        options["betas"] = (config.adam_beta1, config.adam_beta2)
    if "Lion" not in kind:
        options["eps"] = config.adam_epsilon
    return getattr(bitsandbytes.optim, kind)(parameter_groups(model, config), **(options | _parsed(config.optim_args)))


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
