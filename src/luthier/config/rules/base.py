"""What a rule on keys that do not go together is, and what several rules ask."""

from collections.abc import Callable
from dataclasses import dataclass

from luthier.config.schema import Config


@dataclass(frozen=True, slots=True)
class Rule:
    """broken(config) is true where the keys do not go together.  reason: why, and what to do.  keys: the ones to blame.

    warns: it is legal, but a key does nothing.
    """

    name: str
    keys: tuple[str, ...]
    broken: Callable[[Config], bool]
    reason: str
    warns: bool = False


def has_eval_data(config: Config) -> bool:
    return bool(config.eval_dataset) or config.val_size > 0 or config.tokenized_path is not None


def is_set(config: Config, *keys: str) -> bool:
    """Whether the user gave one of keys a value."""
    return any(key in config.model_fields_set and getattr(config, key) is not None for key in keys)
