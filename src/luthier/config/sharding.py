"""fsdp, fsdp_config and deepspeed -> what is to lie in parts on several devices. One mechanism serves all three spellings.

Enters: a Config, and the files that those keys name (transformers' JSON, accelerate's YAML, DeepSpeed's JSON).  Leaves: a
Sharding, or problems that name each key that cannot be honoured (config/sharding.yaml says which can).  Never imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from luthier.config.problems import Problem
from luthier.config.tables import read_table
from luthier.errors import ConfigError

if TYPE_CHECKING:
    from luthier.config.files import Entry
    from luthier.config.schema import Config

STRATEGIES = {"full_shard": True, "1": True, "true": True, "shard_grad_op": False, "2": False, "false": False}
"""Name (or accelerate's number) -> whether weights go back to their parts between forward and backward pass."""
WITHOUT = ("no_shard", "3")
LAUNCHED = {
    "OFFLOAD_PARAMS": "offload_params",
    "AUTO_WRAP_POLICY": "auto_wrap_policy",
    "MIN_NUM_PARAMS": "min_num_params",
    "TRANSFORMER_CLS_TO_WRAP": "transformer_layer_cls_to_wrap",
    "ACTIVATION_CHECKPOINTING": "activation_checkpointing",
}
"""accelerate's variables, without FSDP_, and the settings that they stand for."""
BLOCKS = ("fp16", "bf16", "zero_optimization", "optimizer", "scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """Weights, gradients and optimizer state lie in parts on the devices.

    reshard: weights are gathered again for the backward pass (ZeRO-3), else kept from the forward pass (ZeRO-2).
    offload: the parts lie in the CPU's memory.  layers: class names of the layers gathered one at a time; (): the model's own.
    min_num_params: only layers of so many parameters are.  checkpointing: as activation_checkpointing says.
    unused: keys that change nothing here.  said: the spelling that asked for it.
    """

    reshard: bool = True
    offload: bool = False
    layers: tuple[str, ...] = ()
    min_num_params: int = 0
    checkpointing: bool = False
    unused: tuple[str, ...] = ()
    said: str = "fsdp"

    def describe(self, devices: int, device_kind: str) -> str:
        """One line for the user: who holds what."""
        if devices == 1:
            return f"{self.said}: there is one device, which holds everything."
        held = "weights, gradients and optimizer state" + (", in the CPU's memory" if self.offload else "")
        kept = "gathered again for the backward pass" if self.reshard else "kept gathered from forward to backward pass"
        line = f"{self.said}: each of {devices} devices holds one part of {held}; layers are {kept} (FSDP2)."
        if self.offload and device_kind == "cpu":
            line += " Offloading changes nothing on a CPU."
        return line + (f" Settings that change nothing here: {', '.join(self.unused)}." if self.unused else "")


def sharding_of(config: Config) -> Sharding | None:
    """What config asks for; None where every device holds everything. Raises ConfigError for what cannot be honoured."""
    if config.deepspeed is not None:
        return _of_deepspeed(config)
    return _of_fsdp(config)


def is_sharded(config: Config) -> bool:
    """Whether config asks for parts, rightly or not."""
    try:
        return sharding_of(config) is not None
    except ConfigError:  # find_sharding tells
        return True


def find_sharding(config: Config, entries: Mapping[str, Entry]) -> list[Problem]:
    """The problem with these keys, if there is one."""
    try:
        sharding_of(config)
    except ConfigError as error:
        key = "deepspeed" if config.deepspeed is not None else "fsdp_config" if config.fsdp_config is not None else "fsdp"
        where = entries[key].where if key in entries else ""
        return [Problem(where, " ".join(filter(None, (error.message, error.remedy))), key)]
    return []


def as_launched(environment: Mapping[str, str]) -> dict[str, Any]:
    """What `accelerate launch` (its flags or --config_file) asks for, as keys; {} where it asks for nothing or is not there."""
    if _true(environment.get("ACCELERATE_USE_DEEPSPEED")):
        if file := environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE"):
            return {"deepspeed": file}
        stage = int(environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", 2))
        parts = {"offload_optimizer": "OFFLOAD_OPTIMIZER_DEVICE", "offload_param": "OFFLOAD_PARAM_DEVICE"}
        places = {key: {"device": environment.get(f"ACCELERATE_DEEPSPEED_{name}", "none")} for key, name in parts.items()}
        return {"deepspeed": {"zero_optimization": {"stage": stage} | places}}
    if not _true(environment.get("ACCELERATE_USE_FSDP")):
        return {}
    version = environment.get("FSDP_VERSION", "1")
    names = ["RESHARD_AFTER_FORWARD" if version == "2" else "SHARDING_STRATEGY", *LAUNCHED]
    given = {name: environment[f"FSDP_{name}"] for name in names if environment.get(f"FSDP_{name}") not in (None, "None")}
    settings = {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"} | {LAUNCHED.get(k, k.lower()): v for k, v in given.items()}
    return {"fsdp": "true", "fsdp_config": {"version": int(version)} | settings}


# ---- fsdp ----


def _of_fsdp(config: Config) -> Sharding | None:
    words = str(config.fsdp or "").lower().replace(",", " ").split()
    settings = _read("fsdp_config", config.fsdp_config)
    if isinstance(settings.get("fsdp_config"), dict):  # a whole file of accelerate, which may say more than we are to do
        settings = settings["fsdp_config"]
    settings = {key.removeprefix("fsdp_"): value for key, value in settings.items()}
    if config.fsdp_transformer_layer_cls_to_wrap:
        settings.setdefault("transformer_layer_cls_to_wrap", config.fsdp_transformer_layer_cls_to_wrap)
    if config.fsdp_min_num_params:
        settings.setdefault("min_num_params", config.fsdp_min_num_params)
    if (not words and not settings) or words in (["false"], ["none"]):
        return None
    unknown = [word for word in words if word not in (*STRATEGIES, *WITHOUT, "auto_wrap", "offload")]
    if unknown:
        built = "full_shard, shard_grad_op, no_shard, offload, auto_wrap"
        raise ConfigError(f'fsdp: "{unknown[0]}" is not built.', f"Built: {built}.")
    unused = tuple(_checked("fsdp_config", settings, read_table("sharding")["fsdp_config"]))
    strategy = next((word for word in words if word in (*STRATEGIES, *WITHOUT) and word != "true"), None)
    strategy = strategy or str(settings.get("sharding_strategy", "full_shard")).lower()
    again = settings.get("reshard_after_forward", strategy)
    again = str(again).lower()  # FSDP2 says true or false there, FSDP1 the name of a strategy
    if again in WITHOUT or strategy in WITHOUT:
        return None
    if again not in STRATEGIES:
        raise ConfigError(f'fsdp_config: "{again}" is not built.', "Built: full_shard, shard_grad_op, no_shard.")
    least = int(settings.get("min_num_params") or 0)
    return Sharding(
        reshard=STRATEGIES[again],
        offload="offload" in words or _true(settings.get("cpu_offload")) or _true(settings.get("offload_params")),
        layers=_names(settings.get("transformer_layer_cls_to_wrap")),
        min_num_params=0 if _plain(settings.get("auto_wrap_policy")) == "transformer_based_wrap" else least,
        checkpointing=_true(settings.get("activation_checkpointing")),
        unused=unused,
    )


# ---- DeepSpeed ----


def _of_deepspeed(config: Config) -> Sharding | None:
    if config.fsdp or config.fsdp_config:
        raise ConfigError("deepspeed and fsdp both say how the model is spread over devices: keep one.")
    settings = _read("deepspeed", config.deepspeed)
    table = read_table("sharding")
    unused = list(_checked("deepspeed", {k: v for k, v in settings.items() if k not in BLOCKS}, table["deepspeed"]))
    zero = settings.get("zero_optimization") or {}
    unused += _checked("deepspeed: zero_optimization", zero, table["zero_optimization"])
    for key, expected in _numbers(config).items():
        if (value := settings.get(key, "auto")) not in ("auto", expected):
            raise ConfigError(f"deepspeed: {key} is {value}, but the configuration makes it {expected}.", 'Write "auto" there.')
    for block, asked in (("fp16", config.fp16), ("bf16", config.bf16 or config.pure_bf16)):
        if (value := (settings.get(block) or {}).get("enabled", "auto")) not in ("auto", asked) and (value or asked):
            raise ConfigError(
                f"deepspeed: {block} is {'on' if value else 'off'}, but the configuration says {block}: {str(asked).lower()}.",
                f'Write "enabled": "auto" there, or set {block}.',
            )
    for block in ("optimizer", "scheduler"):
        if settings.get(block):
            raise ConfigError(
                f"deepspeed: {block} is set here and in the configuration (learning_rate, optim, lr_scheduler_type ...).",
                "Take the block out of the file.",
            )
    stage = zero.get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise ConfigError(f"deepspeed: zero_optimization: stage is {stage}.", "There are 0, 1, 2 and 3.")
    if stage == 0:
        return None
    places = [(zero.get(part) or {}).get("device", "none") for part in ("offload_optimizer", "offload_param")]
    if "nvme" in places:
        raise ConfigError("deepspeed: offloading to NVMe is not built.", 'Use "device": "cpu".')
    return Sharding(reshard=stage == 3, offload="cpu" in places, unused=tuple(unused), said=f"deepspeed, ZeRO-{stage}")


def _numbers(config: Config) -> dict[str, Any]:
    """What "auto" stands for. train_batch_size depends on how many devices there are: the launcher knows."""
    return {
        "train_micro_batch_size_per_gpu": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "gradient_clipping": config.max_grad_norm,
    }


# ---- both ----


def _checked(key: str, settings: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    """The keys of settings that change nothing here. ConfigError for one that is unknown or whose value would need what is
    not built. table: name -> "used", "unused", or the values that may stand there."""
    for name, value in settings.items():
        if name not in table:
            from luthier.registry import nearest

            close = nearest(name, [*table])
            raise ConfigError(f'{key}: unknown setting "{name}".', f'Did you mean "{close[0]}"?' if close else None)
        allowed = table[name]
        if allowed == "unused":
            yield name
        elif allowed != "used" and _plain(value) not in [_plain(item) for item in allowed]:
            shown = ", ".join(str(_plain(item)) for item in allowed)
            raise ConfigError(f"{key}: {name}: {_plain(value)} is not built.", f"It may be: {shown}.")


def _read(key: str, value: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """A mapping, JSON text, or the path of a JSON or YAML file."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    if not value.lstrip().startswith("{"):
        file = Path(value).expanduser()
        if not file.is_file():
            raise ConfigError(f"{key}: there is no file {value}.")
        value = file.read_text(encoding="utf-8")
    try:
        settings = yaml.safe_load(value) if "\n" in value and not value.lstrip().startswith("{") else json.loads(value)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{key} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{key} must be a mapping, not {type(settings).__name__}.")
    return settings


def _names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value or ()
    return tuple(str(item).strip() for item in items)


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _plain(value: Any) -> str:
    return str(value).lower()
