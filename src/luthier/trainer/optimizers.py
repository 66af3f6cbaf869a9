"""The optimizer that a config asks for: by the names of transformers' `optim`, or by a key of its own (use_galore ...)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import torch
from torch import nn

from luthier.config import Config
from luthier.errors import ConfigError
from luthier.registry import nearest
from luthier.trainer.any_precision import AnyPrecisionAdamW
from luthier.trainer.few_bits import AdamWInBits
from luthier.trainer.grok import GrokAdamW
from luthier.trainer.groups import adam_options, known, parameter_groups, parsed
from luthier.trainer.lomo import AdaLomo, Lomo
from luthier.trainer.low_memory import adam_mini, by_blocks, by_ratio, low_rank, muon
from luthier.trainer.schedule_free import ScheduleFree
from luthier.trainer.schedules import warmup_steps
from luthier.trainer.stable import StableAdamW

TORCH = {
    "adamw_torch": "AdamW",
    "adamw_torch_fused": "AdamW",
    "adamw_hf": "AdamW",
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
}
"""`optim` -> class of torch.optim."""

BITS = {"adamw_torch_8bit": 8, "adamw_torch_4bit": 4}
ADAMS = {"stable_adamw": StableAdamW, "grokadamw": GrokAdamW, "adamw_anyprecision": AnyPrecisionAdamW}
SCHEDULE_FREE = ("schedule_free_adamw", "schedule_free_sgd", "schedule_free_radam")
OWN = ("adafactor", "lomo", "adalomo", *ADAMS, *BITS, *SCHEDULE_FREE)
LOW_RANK = tuple(
    f"{name}{layerwise}"
    for name in ("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "apollo_adamw")
    for layerwise in ("", "_layerwise")
)

BITSANDBYTES = {
    "adamw_bnb_8bit": "AdamW8bit",
    "adamw_8bit": "AdamW8bit",
    "paged_adamw_32bit": "PagedAdamW32bit",
    "paged_adamw_8bit": "PagedAdamW8bit",
    "ademamix": "AdEMAMix",
    "ademamix_8bit": "AdEMAMix8bit",
    "paged_ademamix_32bit": "PagedAdEMAMix",  # its class named 32bit makes one moment too few (0.50)
    "paged_ademamix_8bit": "PagedAdEMAMix8bit",
    "lion_32bit": "Lion32bit",
    "lion_8bit": "Lion8bit",
    "paged_lion_32bit": "PagedLion32bit",
    "paged_lion_8bit": "PagedLion8bit",
    "rmsprop_bnb": "RMSprop",
    "rmsprop_bnb_32bit": "RMSprop32bit",
    "rmsprop_bnb_8bit": "RMSprop8bit",
}
"""`optim` -> class of bitsandbytes.optim."""

_BETAS = {"AdamW"}
_EPSILON = {"AdamW", "RMSprop", "Adagrad"}


def make_optimizer(model: nn.Module, config: Config, total_steps: int = 0) -> torch.optim.Optimizer:
    """total_steps: of the whole training. Raises ConfigError for an `optim` that is not built or needs what is not here."""
    name = str(config.optim)
    if config.use_galore or config.use_apollo or name in LOW_RANK:
        return low_rank(model, config)
    if config.use_badam:
        return by_ratio(model, config) if config.badam_mode == "ratio" else by_blocks(model, config)
    if config.use_muon:
        return muon(model, config)
    if config.use_adam_mini:
        return adam_mini(model, config)
    if name in BITSANDBYTES:
        return _bitsandbytes(model, config, name)
    if name in OWN:
        return _own(model, config, name, total_steps)
    if name not in TORCH:
        every = [*TORCH, *OWN, *LOW_RANK, *BITSANDBYTES]
        close = nearest(name, every)
        raise ConfigError(
            f'optim "{name}" is not built.', f"{f'Did you mean {close[0]}? ' if close else ''}Built: {', '.join(every)}."
        )
    kind = TORCH[name]
    options: dict = {"lr": config.learning_rate}
    if kind in _BETAS:
        options |= {"betas": (config.adam_beta1, config.adam_beta2), "fused": _fuses(model.parameters())}
    if kind in _EPSILON:
        options |= {"eps": config.adam_epsilon}
    return _made(getattr(torch.optim, kind), model, config, options)


def _made(kind: type, model: nn.Module, config: Config, options: dict) -> torch.optim.Optimizer:
    """The optimizer of that class, with options and what optim_args says."""
    return kind(parameter_groups(model, config), **(options | known(kind, parsed(config.optim_args), str(config.optim))))


def _own(model: nn.Module, config: Config, name: str, total_steps: int) -> torch.optim.Optimizer:
    rate, adam = {"lr": config.learning_rate}, adam_options(config)
    if name.startswith("schedule_free"):
        own = {"kind": name.removeprefix("schedule_free_"), "warmup": warmup_steps(config, total_steps)}
        return _made(ScheduleFree, model, config, adam | own)
    if name in BITS:
        return _made(AdamWInBits, model, config, adam | {"bits": BITS[name]})
    if name in ADAMS:
        return _made(ADAMS[name], model, config, adam)
    if name in ("lomo", "adalomo"):
        return _made(AdaLomo if name == "adalomo" else Lomo, model, config, rate)
    from transformers.optimization import Adafactor

    return _made(Adafactor, model, config, rate | {"scale_parameter": False, "relative_step": False})


def _bitsandbytes(model: nn.Module, config: Config, name: str) -> torch.optim.Optimizer:
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"optim {name} needs bitsandbytes, which is not installed.", "pip install 'luthier[bnb]'")
    import bitsandbytes

    kind, given = BITSANDBYTES[name], parsed(config.optim_args)
    if all(parameter.device.type == "cpu" for parameter in model.parameters()):
        kind = kind.removeprefix("Paged")  # pages move between a GPU and its host
    options: dict = {"lr": config.learning_rate}
    if "AdEMAMix" in kind:
        options["betas"] = tuple(given.pop(f"beta{i}", default) for i, default in _three_betas(config).items())
    elif "RMS" not in kind:
        options["betas"] = (config.adam_beta1, config.adam_beta2)
    if "Lion" not in kind:
        options["eps"] = config.adam_epsilon
    maker = getattr(bitsandbytes.optim, kind)
    return maker(parameter_groups(model, config), **(options | known(maker, given, name)))


def _three_betas(config: Config) -> dict[int, float]:
    return {1: config.adam_beta1, 2: config.adam_beta2, 3: 0.9999}


def _fuses(parameters: Iterable[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters if p.requires_grad)
