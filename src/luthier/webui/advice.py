"""Advice beside fields: what suits this model, this data and this machine, in one sentence each.

Enters: the settings and the forecast, if there is one.  Leaves: key -> Advice. It changes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.config.docs import read_docs

FEW, MANY = 500, 5000
LONG_CUT = 0.02
ROUND_CUTOFFS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """words: key of the locale, filled with values.  take: the value that a click sets, None for none."""

    words: str
    take: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)


def advise(settings: Mapping[str, Any], forecast: Mapping[str, Any] | None = None) -> dict[str, Advice]:
    """At most one advice a key; a key that is as advised has none."""
    found = {**_rate(settings), **_data(settings, (forecast or {}).get("data"))}
    return {key: advice for key, advice in found.items() if advice.take is None or _get(settings, key) != advice.take}


def _rate(settings: Mapping[str, Any]) -> dict[str, Advice]:
    rate, method = _get(settings, "learning_rate"), _get(settings, "finetuning_type")
    if not isinstance(rate, int | float):
        return {}
    if settings.get("model_name_or_path") == "starter":
        return {"learning_rate": Advice(words="advice.starter_rate", take=5e-3)} if rate < 1e-3 else {}
    if method == "full" and rate > 5e-5:
        return {"learning_rate": Advice(words="advice.full_rate", take=1e-5)}
    if method == "lora" and rate < 3e-5:
        return {"learning_rate": Advice(words="advice.lora_rate", take=1e-4)}
    if rate > 1e-3:
        return {"learning_rate": Advice(words="advice.high_rate", take=2e-4)}
    return {}


def _data(settings: Mapping[str, Any], data: Mapping[str, Any] | None) -> dict[str, Advice]:
    if not data:
        return {}
    found: dict[str, Advice] = {}
    samples, epochs = data["samples"], _get(settings, "num_train_epochs")
    if isinstance(epochs, int | float):
        if samples < FEW and epochs < 5:
            wanted = 20.0 if settings.get("model_name_or_path") == "starter" else 8.0
            found["num_train_epochs"] = Advice(words="advice.more_epochs", take=wanted, values={"samples": samples})
        elif samples > MANY and epochs > 5:
            found["num_train_epochs"] = Advice(words="advice.fewer_epochs", take=2.0, values={"samples": samples})
    cutoff = _get(settings, "cutoff_len")
    if isinstance(cutoff, int) and data["over"] > LONG_CUT:
        wanted = next((size for size in ROUND_CUTOFFS if size >= data["p99"]), ROUND_CUTOFFS[-1])
        values = {"share": f"{100 * data['over']:.0f}"}
        found["cutoff_len"] = Advice(words="advice.longer", take=wanted if wanted > cutoff else None, values=values)
    if samples >= FEW and not settings.get("val_size") and not settings.get("eval_dataset"):
        found["val_size"] = Advice(words="advice.hold_out", take=0.1 if samples < MANY else 0.02)
    batch = _get(settings, "per_device_train_batch_size"), _get(settings, "gradient_accumulation_steps")
    if all(isinstance(part, int) for part in batch) and samples / max(1, batch[0] * batch[1]) < 8:
        found["gradient_accumulation_steps"] = Advice(
            words="advice.smaller_batch", take=1 if batch[1] > 1 else None, values={"batch": batch[0] * batch[1]}
        )
    return found


def _get(settings: Mapping[str, Any], key: str) -> Any:
    value = settings.get(key)
    return read_docs()[key].default if value is None else value
