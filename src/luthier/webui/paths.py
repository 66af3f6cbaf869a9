"""Which folders settings would touch, held against the folders that the page may use.

Enters: settings.  Leaves: nothing, or a complaint at the key that names a foreign folder. Names of hubs and registered
datasets are no paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.config.docs import read_docs
from luthier.errors import ConfigError, LuthierError
from luthier.hub import STARTER
from luthier.runs import known_runs
from luthier.webui.settings import Settings

WRITTEN = ("output_dir", "export_dir", "tokenized_path", "save_dir", "logging_dir", "offload_folder")
READ = (
    "model_name_or_path", "adapter_name_or_path", "dataset", "eval_dataset", "dataset_dir", "media_dir", "ref_model",
    "ref_model_adapters", "reward_model", "reward_model_adapters", "resume_from_checkpoint", "cache_dir", "deepspeed",
    "export_quantization_dataset", "new_special_tokens_config", "task_dir", "generation_config", "hyper_parallel_args",
    "kt_weight_path", "teacher_model", "models",
)  # fmt: skip
REPOSITORY = re.compile(r"[\w.\-]+/[\w.\-]+")


def outside(settings: Mapping[str, Any], allowed: Settings) -> dict[str, str]:
    """key -> complaint, for every key that names a path outside the allowed folders."""
    found = {}
    trained = None
    for key in (*WRITTEN, *READ):
        value = settings.get(key)
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or not _is_path(name, written=key in WRITTEN):
                continue
            trained = {run.folder for run in known_runs()} if trained is None else trained
            real = Path(name).expanduser().resolve()
            if key in READ and any(real.is_relative_to(folder) for folder in trained):
                continue
            try:
                allowed.allow(name, key if key in read_docs() else "path")
            except ConfigError as error:
                found[key] = f"{error.message} {error.remedy}"
    return found


def require_inside(settings: Mapping[str, Any], allowed: Settings) -> None:
    """Raise ConfigError for the first such key."""
    for text in outside(settings, allowed).values():
        raise ConfigError(text)


def safe_name(name: str) -> str:
    """The name of an uploaded file without any folder in it. Raises LuthierError for one that says nothing."""
    bare = re.sub(r"[^\w.\- ()\u4e00-\u9fff]", "_", name.replace("\\", "/").rpartition("/")[2]).strip(". ")
    if not bare:
        raise LuthierError("the file has no name.", "Rename it and upload it again.")
    return bare[:120]


def _is_path(name: str, *, written: bool) -> bool:
    if written:
        return True
    if name in (STARTER, "auto", "true", "false", "ONLINE") or name.startswith(("REMOTE:", "{")):
        return False
    if name.startswith(("/", "~", ".")) or "\\" in name or ".." in name:
        return True
    return Path(name).exists() or (name.count("/") > 0 and not REPOSITORY.fullmatch(name))
