"""A training that does not fit -> the cheapest changes of its config that make it fit, each proved by another forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import luthier.planner
from luthier.config.checks import find_conflicts
from luthier.errors import LuthierError
from luthier.models.load import load_config_of_model
from luthier.workflows.footprints import Footprints
from luthier.workflows.plan import plan_training

if TYPE_CHECKING:
    from luthier.config import Config
    from luthier.planner.base import Plan
    from luthier.planner.cards import Card

WANTED = 3
MOST_CHANGES = 3
"""So many keys at a time are changed at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """changes: key -> value.  cost: what is lost, a phrase.  slower: seconds of a step over those before, None where unknown.
    plan: the forecast with the changes; it fits."""

    changes: Mapping[str, Any]
    cost: str
    risk: int
    slower: float | None
    plan: Plan


def remedies(config: Config, plan: Plan, card: Card | None = None) -> list[Remedy]:
    """The WANTED cheapest ways to make config fit: those with the least risk for what is learned first, then the
    simplest, then the fastest."""
    shape = load_config_of_model(config)
    forecast = partial(plan_training, model_config=shape, card=card, footprints=Footprints())
    rows = [row for row in _table() if not card or card.device.kind in row.get("kinds", [card.device.kind])]
    found: list[Remedy] = []
    for group in _groups(config, rows):
        for chosen in group:
            changes = {key: value for row in chosen for key, value in _values(config, row).items()}
            changed = config.model_copy(update=changes)
            if any(remedy.changes.items() <= changes.items() for remedy in found) or _conflicts(changed) - _conflicts(config):
                continue
            if tried := _try(changed, forecast):
                found.append(_remedy(chosen, changes, plan, tried))
        if len(found) >= WANTED:
            break
    return sorted(found, key=lambda remedy: (remedy.risk, len(remedy.changes), remedy.slower or 1.0))[:WANTED]


def _try(config: Config, forecast: Any) -> Plan | None:
    """The plan of a changed config if it fits."""
    try:
        plan = forecast(config)
    except LuthierError:  # what is missing here, say bitsandbytes
        return None
    return plan if plan.fits else None


def _conflicts(config: Config) -> set[str]:
    """What does not go together in a training with these keys."""
    return {problem.text for problem in find_conflicts(config.model_copy(update={"do_train": True}), {}, skip=set())[0]}


def _remedy(rows: tuple[Mapping[str, Any], ...], changes: Mapping[str, Any], before: Plan, plan: Plan) -> Remedy:
    slower = plan.step_s / before.step_s if plan.step_s and before.step_s else None
    costs = "; ".join(row["cost"] for row in rows)
    return Remedy(changes=changes, cost=costs, risk=max(row["risk"] for row in rows), slower=slower, plan=plan)


def _groups(config: Config, rows: list[dict[str, Any]]) -> Iterator[list[tuple[dict[str, Any], ...]]]:
    """Sets of rows that can be taken together, in groups: small risks first, few changes first."""
    useful = [row for row in rows if any(getattr(config, key) != value for key, value in _values(config, row).items())]
    for risk in sorted({row["risk"] for row in useful}):
        below = [row for row in useful if row["risk"] <= risk]
        for count in range(1, MOST_CHANGES + 1):
            yield [
                chosen
                for chosen in combinations(below, count)
                if max(row["risk"] for row in chosen) == risk and _disjoint([row["set"] for row in chosen])
            ]


def _disjoint(settings: list[Mapping[str, Any]]) -> bool:
    keys = [key for setting in settings for key in setting]
    return len(keys) == len(set(keys))


def _values(config: Config, row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: getattr(config, key) // 2 if value == "half" else value for key, value in row["set"].items()}


@cache
def _table() -> list[dict[str, Any]]:
    file = Path(luthier.planner.__file__).parent / "remedies.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))
