"""Checkpoints: everything that the next step depends on, written beside and renamed into place, proved whole by checksums.

A checkpoint folder holds the model as the adapter saves it, the tokenizer (both loadable by anyone), and trainer/:
    tensors.safetensors   optimizer moments and random-number states (of further processes: tensors-1.safetensors ..., parts.py)
    state.json            step, schedule, counters
manifest.json names every file with its size and SHA-256; without a right one a folder is no checkpoint. No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from luthier.errors import CheckpointError
from luthier.trainer.parts import Parts, write_part

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "trainer/state.json"


def write(
    folder: Path,
    save_files: Callable[[Path], None],
    state: Mapping[str, Any] | None,
    tensors: Mapping[str, torch.Tensor],
    meet: Callable[[], None] = lambda: None,
) -> None:
    """save_files(draft) writes the model; state None leaves the trainer's part out (save_only_model).

    meet: where the others wait that call write_mine. The folder appears whole or not at all. Raises CheckpointError where the
    disk is full or not writable.
    """
    draft = _draft(folder)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        (draft if state is None else draft / "trainer").mkdir(parents=True)
        meet()
        save_files(draft)
        if state is not None:
            write_part(draft, 0, tensors)
            (draft / STATE).write_text(json.dumps(state), encoding="utf-8")
        meet()
        files = sorted(path for path in draft.rglob("*") if path.is_file())
        manifest = {str(path.relative_to(draft)): {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for path in (*files, draft / MANIFEST):
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free / 2**30
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {error}",
            f"{free:.2f} GiB are free there. Earlier checkpoints are untouched.",
        ) from error


def forget(folders: Sequence[Path], *, limit: int | None, keep: Path | None) -> None:
    """Remove the oldest until `limit` are left. folders: newest first.  limit: None or 0 for no limit.  keep: the best one."""
    if not limit:
        return
    others = [folder for folder in folders if folder != keep]
    room = max(1, limit - (keep in folders and limit > 1))
    for folder in others[room:]:
        shutil.rmtree(folder)


def write_mine(folder: Path, rank: int, tensors: Mapping[str, torch.Tensor] | None, meet: Callable[[], None]) -> None:
    """The part of a process that is not the first, while that one is in write. tensors None: there is none."""
    meet()
    if tensors is not None:
        write_part(_draft(folder), rank, tensors)
    meet()


def _draft(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.draft"


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None for a whole one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{MANIFEST} is missing or broken"
    for name, entry in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}"
        if _sha256(path) != entry["sha256"]:
            return f"{name} has changed since it was written"
    return None


def newest(folders: Sequence[Path], identity: Mapping[str, Any]) -> Path | None:
    """The first whole one of folders (newest first); broken ones are named and passed over.

    Raises CheckpointError where it belongs to a training with another identity (data, model, settings that change numbers).
    """
    for folder in folders:
        wrong = fault(folder)
        if wrong:
            logger.warning("%s is not used: %s. The checkpoint before it is taken.", folder, wrong)
            continue
        there = _state(folder)["identity"]
        differing = [key for key, value in identity.items() if there.get(key) != value]
        if differing:
            was = "; ".join(f"{key}: {there.get(key)} there, {identity[key]} here" for key in differing[:3])
            raise CheckpointError(
                f"{folder} belongs to a training with other settings ({was}).",
                "Give the settings of that run, or start anew with overwrite_output_dir: true or another output_dir.",
            )
        return folder
    return None


def read(folder: Path) -> tuple[dict[str, Any], Parts]:
    """State and tensors of a checkpoint. Raises CheckpointError for one without them (save_only_model)."""
    return _state(folder), Parts(folder)


def _state(folder: Path) -> dict[str, Any]:
    if not (folder / STATE).exists():
        raise CheckpointError(
            f"{folder} holds a model but no optimizer state.",
            "It was saved with save_only_model: give it as adapter_name_or_path instead.",
        )
    return json.loads((folder / STATE).read_text(encoding="utf-8"))


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, torch.Tensor]:
    """The optimizer's state as "optimizer/<parameter>/<key>". names: id(parameter) -> name. Raises CheckpointError for a state
    that is not made of tensors."""
    tensors = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value is None:
                continue
            if not isinstance(value, torch.Tensor):
                value = torch.tensor(value)
            tensors[f"optimizer/{names[id(parameter)]}/{key}"] = value
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], tensors: Parts) -> None:
    """What optimizer_tensors gave, back in place; moments move to their parameter's device."""
    parameters = {names[id(p)]: p for group in optimizer.param_groups for p in group["params"]}
    for full_name in tensors.names:
        if not full_name.startswith("optimizer/"):
            continue
        name, _, key = full_name.removeprefix("optimizer/").rpartition("/")
        if name not in parameters:
            raise CheckpointError(
                f"the checkpoint holds optimizer state of {name}, which does not learn here.",
                "Resume with the config of the run.",
            )
        parameter = parameters[name]
        tensor = tensors.get(full_name, like=parameter)
        stays = key == "step" and not optimizer.defaults.get("fused")
        optimizer.state[parameter][key] = tensor.clone() if stays else tensor.to(parameter.device, copy=True)
    if resumed := getattr(optimizer, "resumed", None):  # an optimizer that has more to set right than its tensors
        resumed()


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of every random-number generator that a training draws from, as byte tensors."""
    states = {"random/torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["random/cuda"] = torch.cuda.get_rng_state(device)
    name, keys, at, has_gauss, gauss = np.random.get_state()
    text = json.dumps([name, keys.tolist(), at, has_gauss, gauss])
    states["random/numpy"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    states["random/python"] = torch.frombuffer(bytearray(json.dumps(random.getstate()).encode()), dtype=torch.uint8)
    return states


def restore_random(tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["random/torch"])
    if device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    name, keys, at, has_gauss, gauss = json.loads(bytes(tensors["random/numpy"].tolist()))
    np.random.set_state((name, np.array(keys, np.uint32), at, has_gauss, gauss))
    version, internal, gauss_next = json.loads(bytes(tensors["random/python"].tolist()))
    random.setstate((version, tuple(internal), gauss_next))


def parameter_names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
