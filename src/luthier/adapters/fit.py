"""Does a saved adapter belong to this model? Decided from names and shapes in the file's header, before attaching."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def check_fits(model: nn.Module, folder: Path, base_name: str) -> dict[str, Any]:
    """adapter_config.json of folder. ModelError that names both models and the first mismatch, where they do not fit.

    base_name: what the user calls the model. An adapter that fits but was trained on another name is a warning.
    """
    settings = _settings(folder)
    trained_on = settings.get("base_model_name_or_path") or "an unnamed model"
    modules = dict(model.named_modules())
    for key, shape in _shapes(folder).items():
        if mismatch := _mismatch(modules, key, shape):
            raise ModelError(
                f"the adapter {folder} was trained on {trained_on} and does not fit {base_name}: {mismatch}.",
                f"Load it on its own base (model_name_or_path: {trained_on}), or give another adapter.",
            )
    if Path(trained_on).name != Path(base_name).name:
        log.warning("The adapter %s was trained on %s; it is used on %s, whose shapes fit.", folder, trained_on, base_name)
    return settings


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not valid JSON: {error}", "Copy the adapter again.") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{file} holds a {type(settings).__name__}, not a mapping.", "Copy the adapter again.")
    return settings


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the saved tensors; reads the header only."""
    from safetensors import SafetensorError, safe_open

    file = folder / WEIGHTS
    if not file.is_file():
        pickle = (
            " (adapter_model.bin is pickle, which can run code when read)" if (folder / "adapter_model.bin").is_file() else ""
        )
        raise ModelError(f"{folder} has no {WEIGHTS}{pickle}.", "Save the adapter as safetensors, or copy it again.")
    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{file} is broken ({file.stat().st_size:,} bytes): {error}.", "Copy the adapter again.") from error


def _mismatch(modules: dict[str, nn.Module], key: str, shape: tuple[int, ...]) -> str:
    """How a saved tensor fails to fit; "" where it fits or is of a kind that peft itself has to judge.

    base_model.model.model.layers.0.mlp.up_proj.lora_A.weight (8, 256) -> model.layers.0.mlp.up_proj takes 256 values
    """
    name, found, part = key.removeprefix(PREFIX).partition(".lora_")
    if not found or part[0] not in "AB":
        return ""
    module = modules.get(name)
    if module is None:
        return f"this model has no {name}"
    weight = getattr(module, "weight", None)
    if getattr(weight, "dim", lambda: 0)() != 2 or type(module).__name__ != "Linear":
        return ""
    side, has, needs = ("in", shape[1], weight.shape[1]) if part[0] == "A" else ("out", shape[0], weight.shape[0])
    return f"{name} has {needs} values {side}, the adapter expects {has}" if has != needs else ""
