"""The contract of a reward function, how names become functions, and how their answers are checked.

    def reward(prompts, completions, **columns) -> list[float]

prompts: one list of {"role", "content"} messages for each answer.  completions: the answers as text.  columns: what else the
dataset's rows hold, each a list as long as completions; `reference` is the given answer, where there is one, and `tools` the
functions that were offered, where there are some.
The same signature as TRL's, so that its users' functions work.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from luthier.errors import ConfigError, TrainingError
from luthier.stages.rewards import REWARDS

RewardFunction = Callable[..., Sequence[float]]


def find_reward(name: str) -> RewardFunction:
    """A bundled name, "package.module:function", "package.module.function" or "file.py:function".

    Raises ConfigError that says what is missing; this runs the module's code, as importing does.
    """
    if name in REWARDS:
        return REWARDS[name]
    where, _, attribute = name.rpartition(":") if ":" in name else name.rpartition(".")
    if not where:
        return REWARDS[name]  # raises, with the names that are known
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:
        raise ConfigError(
            f"reward_funcs: {where} cannot be imported: {type(error).__name__}: {error}",
            "Write file.py:function, or package.module:function with the package on PYTHONPATH.",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"reward_funcs: {where} has no function {attribute}.", f"Write it as {where}:function.")
    return function


def _from_file(path: Path) -> Any:
    path = path.expanduser()
    spec = importlib.util.spec_from_file_location(f"luthier_reward_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def ask(
    function: RewardFunction,
    name: str,
    prompts: Sequence[Sequence[Mapping[str, str]]],
    completions: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
) -> list[float]:
    """The rewards of the answers. Raises TrainingError for a function that raises, or returns what are not so many numbers."""
    try:
        found = function(prompts=list(prompts), completions=list(completions), **columns)
    except Exception as error:
        raise TrainingError(
            f"the reward function {name} raised {type(error).__name__}: {error}",
            f"The first answer it was given: {completions[0][:200]!r}",
        ) from error
    rewards = found.tolist() if hasattr(found, "tolist") else found
    if not isinstance(rewards, Sequence) or len(rewards) != len(completions):
        what = f"{len(rewards)} rewards" if isinstance(rewards, Sequence) else f"a {type(found).__name__}"
        raise TrainingError(
            f"the reward function {name} returned {what} for {len(completions)} answers.", "Return a list, one number each."
        )
    for number, reward in enumerate(rewards):
        if not isinstance(reward, Real) or not math.isfinite(reward):
            raise TrainingError(
                f"the reward function {name} returned {reward!r} for answer {number}: {completions[number][:200]!r}",
                "Return a finite number for each answer.",
            )
    return [float(reward) for reward in rewards]
