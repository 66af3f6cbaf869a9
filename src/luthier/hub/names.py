"""Names of models and adapters -> folders on this machine.

Enters: what the user wrote: `starter`, a folder, a name of the catalog, or a repository id of Hugging Face or ModelScope.
Leaves: a local folder. Never loads weights, nor fetches pickled weights or code that nobody asked for.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.errors import ModelError
from luthier.hub.catalog import find_entry
from luthier.hub.fetch import Wanted, fetch, prefers_modelscope
from luthier.registry import nearest

if TYPE_CHECKING:
    from luthier.config import Config

STARTER = "starter"
PLAIN_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.md")
CODE_AND_PICKLES = ("*.py", "*.bin")
SECOND_COPIES = ("original/*", "consolidated*", "onnx/*", "*/onnx/*")  # the same weights again, in other layouts

_REPOSITORY_ID = re.compile(r"[\w.\-]+(/[\w.\-]+)?")


def resolve_model(name: str, config: Config | None = None) -> Path:
    """The local folder of a model. Raises ModelError that says what is missing.

    name: `starter`, a folder (also of a run or a checkpoint), or a hub id such as `Qwen/Qwen3-0.6B`; a model of the catalog is
    found by its last part too, and under the name that the chosen hub has for it.
    config: hub, model_revision, cache_dir, hf_hub_token, trust_remote_code ...; None takes their defaults.
    """
    if name == STARTER and not Path(name).is_dir():
        return _starter()
    return _local_folder(name) or _download(name, config)


def resolve_adapter(name: str, config: Config | None = None) -> Path:
    """The local folder of an adapter, holding adapter_config.json. Raises ModelError that says what is missing."""
    folder = _local_folder(name) or _download(name, config)
    if config is not None and config.adapter_folder:
        folder = folder / config.adapter_folder
    if (folder / "adapter_config.json").is_file():
        return folder
    if (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds a whole model, not an adapter.", f"Give it as model_name_or_path: {folder}")
    raise ModelError(f"{folder} holds no adapter: adapter_config.json is missing.", _neighbours(folder, "adapter_config.json"))


def _starter() -> Path:
    folder = Path(str(files("luthier") / "starter"))
    if not (folder / "config.json").is_file():
        raise ModelError("the starter model is not part of this installation.", "Make it with: make starter")
    return folder


def _local_folder(name: str) -> Path | None:
    """The folder called name, None where name can only be a hub id. ModelError for a path that does not exist."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{name} is a file; a model is a folder.", f"Did you mean {path.parent}?")
    step = re.fullmatch(r"checkpoint-(\d+)", path.name)  # as LLaMA-Factory lays out a run folder
    if step and (ours := path.parent / "checkpoints" / f"step-{step[1]}").is_dir():
        return ours
    if _looks_like_path(name):
        raise ModelError(f"the folder {name} does not exist.", _neighbours(path))
    return None


def _looks_like_path(name: str) -> bool:
    """Whether name is meant as a folder: `./x`, `~/x`, `a/b/c`, `saves/x` where `saves` exists; not `Qwen/Qwen3-0.6B`."""
    if not _REPOSITORY_ID.fullmatch(name) or name.startswith((".", "~")):
        return True
    return "/" in name and Path(name).parent.is_dir()


def _neighbours(missing: Path, marker: str = "config.json") -> str:
    """A remedy that names folders near a missing one: a like name beside it, else what its nearest existing parent holds."""
    parent = next((folder for folder in (missing, *missing.parents) if folder.is_dir()), Path())
    names = sorted(child.name for child in parent.iterdir() if child.is_dir() and not child.name.startswith("."))
    unfound = missing.relative_to(parent).parts[0] if missing != parent else missing.name
    close = [parent / name for name in nearest(unfound, names, count=3)]
    holding = [parent / name for name in names if (parent / name / marker).is_file()][:5]
    if close:
        return f"Did you mean {' or '.join(map(str, close))}?"
    if holding:
        return f"Folders that have a {marker} here: {', '.join(map(str, holding))}"
    return f"{parent.absolute()} has no folder like it."


def _name_on_hub(name: str, config: Config | None) -> str:
    entry = find_entry(name)
    if entry is None:
        return name
    return entry.modelscope if _modelscope(config) else entry.huggingface


def _download(name: str, config: Config | None) -> Path:
    return fetch(
        Wanted(
            name=_name_on_hub(name, config),
            kind="model",
            revision=config.model_revision if config else "main",
            cache_dir=config.cache_dir if config else None,
            token=_token(config),
            allow=_patterns(config),
            ignore=SECOND_COPIES,
            needs_weights=True,
        ),
        modelscope=_modelscope(config),
    )


def _token(config: Config | None) -> str | None:
    return config.secret("ms_hub_token" if _modelscope(config) else "hf_hub_token") if config else None


def _modelscope(config: Config | None) -> bool:
    return prefers_modelscope(config.hub if config else "auto")


def _patterns(config: Config | None) -> list[str]:
    """Files to fetch. Code and pickled weights (both run code when read) only where the user trusts the repository."""
    trusted = config is not None and config.trust_remote_code
    return [*PLAIN_FILES, *(CODE_AND_PICKLES if trusted else ())]
