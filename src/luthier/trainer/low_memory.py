"""Optimizers for full tuning that save memory, made from their keys: GaLore, APOLLO, BAdam, Adam-mini, Muon."""

from __future__ import annotations

import re

import torch
from torch import nn

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.trainer.blocks import LAYER, BlockAdamW, blocks_of
from luthier.trainer.directions import adafactor, adam
from luthier.trainer.few_bits import AdamInBits
from luthier.trainer.groups import adam_options, parameter_groups, parsed
from luthier.trainer.joined import Joined
from luthier.trainer.lowrank import LowRank
from luthier.trainer.mini import MiniAdamW, count_blocks
from luthier.trainer.muon import Muon
from luthier.trainer.ratio import RatioAdamW

ALL = {"all", "all-linear", "all_linear"}
"""Targets that mean every linear layer, as LLaMA-Factory and transformers write it."""


def low_rank(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """GaLore or APOLLO on the matrices that its target names, the same direction unprojected on the rest."""
    by_key = config.use_galore or config.use_apollo
    kind = "galore" if config.use_galore or (not by_key and str(config.optim).startswith("galore")) else "apollo"
    options, targets, key = _by_keys(config, kind) if by_key else _by_name(config, kind)
    chosen = {id(p) for p in _matrices(model, targets, key)}
    groups = []
    for group in parameter_groups(model, config):
        low = [p for p in group["params"] if id(p) in chosen]
        rest = [p for p in group["params"] if id(p) not in chosen]
        groups += [group | {"params": params} | more for params, more in ((low, options), (rest, {})) if params]
    name = str(config.optim)
    direction = AdamInBits(bits=8) if "8bit" in name else adafactor if "adafactor" in name else adam
    return LowRank(groups, kind=kind, direction=direction, seed=config.seed, **adam_options(config))


def _by_keys(config: Config, kind: str) -> tuple[dict, list[str], str]:
    """(options of projected groups, targets, the key that names them) of use_galore or use_apollo."""
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
    return options, getattr(config, f"{kind}_target"), f"{kind}_target"


def _by_name(config: Config, kind: str) -> tuple[dict, list[str], str]:
    """The same of optim: galore_adamw, apollo_adamw ..., whose options lie in optim_args; defaults are transformers'."""
    options: dict = {"rank": 128, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
    if kind == "apollo":
        options |= {"scale": 1.0, "proj": "random", "scale_type": "channel", "scale_front": False}
    given = parsed(config.optim_args)
    if unknown := sorted(given.keys() - options.keys()):
        raise ConfigError(f"optim_args: {config.optim} has no {unknown[0]}.", f"It has {', '.join(options)}.")
    options |= given
    options |= {"rank": int(options["rank"]), "interval": int(options.pop("update_proj_gap"))}
    return options, config.optim_target_modules or ["all"], "optim_target_modules"


def _matrices(model: nn.Module, targets: list[str], key: str) -> list[nn.Parameter]:
    """The learning weights of linear layers inside the hidden layers; targets: "all", or regular expressions found in names."""
    found = [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.weight.requires_grad
        and LAYER.match(f"{name}.")
        and (ALL.intersection(targets) or any(re.search(target, name) for target in targets))
    ]
    if not found:
        raise ConfigError(f"{key}: {', '.join(targets)} matches no linear layer that learns.", f"Set {key}: all")
    return found


def by_blocks(model: nn.Module, config: Config) -> torch.optim.Optimizer:
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
        verbose=config.badam_verbose,
        **adam_options(config),
    )


def by_ratio(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """BAdam by single weights: embeddings and head stay frozen, as its authors have it."""
    outside = (model.get_input_embeddings(), model.get_output_embeddings())
    for module in filter(None, outside):
        module.requires_grad_(False)
    return RatioAdamW(
        parameter_groups(model, config),
        ratio=config.badam_update_ratio,
        mask=config.badam_mask_mode,
        interval=config.badam_switch_interval or 50,
        seed=config.seed,
        **adam_options(config),
    )


def adam_mini(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    text = model.config.get_text_config()
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return MiniAdamW(parameter_groups(model, config), count_blocks(model, head_size), **adam_options(config))


def muon(model: nn.Module, config: Config) -> torch.optim.Optimizer:
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
    return Joined([muon, torch.optim.AdamW(split[1], **adam_options(config))] if split[1] else [muon])
