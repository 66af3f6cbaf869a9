"""What a new run is refused for: a folder that is occupied, on a full disk or the model's own; a checkpoint that is not there.

What enters: the folder and the Config. What leaves: nothing, the checkpoints to go on from, or a ConfigError. Reads only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ConfigError, LuthierError
from luthier.runs.layout import Layout, resolve_checkpoint
from luthier.runs.status import status_on_disk
from luthier.runtime.files import free_bytes, size_text

if TYPE_CHECKING:
    from luthier.config import Config


def require_space(folder: Path, num_bytes: int, what: str) -> None:
    """Raise LuthierError with both numbers unless num_bytes are free for what."""
    free = free_bytes(folder)
    if free < num_bytes:
        raise LuthierError(
            f"the disk is nearly full: {what} in {folder} needs {size_text(num_bytes)}, {size_text(free)} are free.",
            "Free some space or choose an output_dir on another disk.",
        )


def refuse_model_folder(folder: Path, config: Config) -> None:
    for key in ("model_name_or_path", "ref_model", "reward_model"):
        source = getattr(config, key)
        if source and Path(source).expanduser().is_dir() and Path(source).expanduser().resolve() == folder:
            raise ConfigError(f"output_dir {folder} is the folder of {key}.", "Choose another output_dir.")


def refuse_occupied(run: Layout, config: Config, earlier: bool) -> None:
    """What ended well is kept unless the user says overwrite or resume; a run that was cut short is gone on with."""
    wish = _resume_wish(config)
    if config.overwrite_output_dir:
        _refuse_own_checkpoint(run, config)
        return
    if wish not in (None, "false"):
        return
    status = status_on_disk(run)
    state = status.get("before", status).get("state") if earlier else None
    if earlier and (state == "finished" or (wish == "false" and run.checkpoints())):
        raise ConfigError(
            f"output_dir {run.folder} already holds a {run.kind} run ({state}).",
            "Choose another output_dir, go on with resume_from_checkpoint=auto, or start over: overwrite_output_dir=true.",
        )
    if not earlier and run.kind == "train" and run.has_model():
        raise ConfigError(
            f"output_dir {run.folder} already holds a trained model.",
            "Choose another output_dir, or allow its replacement with overwrite_output_dir=true.",
        )


def _refuse_own_checkpoint(run: Layout, config: Config) -> None:
    """Overwriting deletes the checkpoints: none of them may be what the new run starts from."""
    for key in ("model_name_or_path", "adapter_name_or_path", "resume_from_checkpoint"):
        value = getattr(config, key)
        for source in value if isinstance(value, list | tuple) else [value]:
            if isinstance(source, str | Path) and resolve_checkpoint(source).resolve().is_relative_to(run.checkpoints_folder):
                raise ConfigError(
                    f"{key} {source} lies in output_dir {run.folder}, which overwrite_output_dir would empty.",
                    "Choose another output_dir, or leave overwrite_output_dir out.",
                )


def checkpoints_to_resume(run: Layout, config: Config, earlier: bool) -> list[Path]:
    """Best first. earlier: a run of this kind lies in the folder. Raises ConfigError where none is at the place named."""
    wish = _resume_wish(config)
    if run.kind != "train" or wish == "false":
        return []
    if wish is None:
        return run.checkpoints() if earlier and not config.overwrite_output_dir else []
    if wish == "auto":
        return run.checkpoints()
    where = run.folder if wish == "true" else resolve_checkpoint(wish).resolve()
    whole_run = Layout(where).checkpoints()
    found = whole_run or ([where] if where != run.folder and where.is_dir() else [])
    if not found:
        raise ConfigError(
            f"resume_from_checkpoint: there is no checkpoint in {where}.",
            "resume_from_checkpoint=auto starts fresh where there is none.",
        )
    return found


def _resume_wish(config: Config) -> str | None:
    """resume_from_checkpoint: None, "auto", "true", "false" or a path."""
    wish = config.resume_from_checkpoint
    return str(wish).lower() if str(wish).lower() in ("auto", "true", "false") else wish
