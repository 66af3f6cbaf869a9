"""What every key means: the YAML files beside this one and the types of the key groups, put together.

Enters: nothing.  Leaves: key -> Doc, for `luthier config explain`, the reference page, web forms and the JSON schema.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from luthier.config.complaints import LIMITS
from luthier.config.schema import Config, groups
from luthier.config.tables import read_table
from luthier.config.values import Kind, kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """One key.

    type: "bool", "int", "float", "text", "list", "mapping" or "secret".  choices: the only values, if these are fixed.
    limits: (("ge", 1), ("lt", 5)).  en, zh: one line of meaning.  when_en, when_zh: when and how to change it, or None.
    inert: accepted, but changes nothing.  feature: what is missing where a value is not built yet; built: values that are.
    """

    key: str
    group: str
    type: str
    default: Any
    choices: tuple[Any, ...]
    optional: bool
    limits: tuple[tuple[str, float], ...]
    en: str
    zh: str
    when_en: str | None
    when_zh: str | None
    inert: bool
    feature: str | None
    built: tuple[Any, ...]

    def meaning(self, lang: str) -> str:
        """One line in "en" or "zh"."""
        return self.zh if lang == "zh" else self.en

    def advice(self, lang: str) -> str | None:
        """When to change the key, in "en" or "zh"."""
        return self.when_zh if lang == "zh" else self.when_en

    @property
    def is_built(self) -> bool:
        """Whether anything but the default can be set today."""
        return self.feature is None or any(value != self.default for value in self.built)


@cache
def read_docs() -> dict[str, Doc]:
    """Every key of Config, group by group, in the order of the key files."""
    return {key: _doc(name, group, key) for name, group in groups().items() for key in group.model_fields}


def _doc(name: str, group: type, key: str) -> Doc:
    text = read_table(f"docs/{name}")[key]
    later = read_table("later").get(key, {})
    field, kind = Config.model_fields[key], kind_of(Config, key)
    return Doc(
        key=key,
        group=name,
        type=_type_name(kind),
        default=field.default,
        choices=kind.choices,
        optional=kind.optional,
        limits=_limits(field.metadata),
        en=text["en"],
        zh=text["zh"],
        when_en=text.get("when_en"),
        when_zh=text.get("when_zh"),
        inert=text.get("inert", False),
        feature=later.get("feature"),
        built=tuple(later.get("allowed", ())),
    )


def _type_name(kind: Kind) -> str:
    if kind.is_secret:
        return "secret"
    if kind.is_list:
        return "list"
    if kind.choices:
        return type(kind.choices[0]).__name__.replace("str", "text")
    names = {bool: "bool", float: "float", int: "int", str: "text", dict: "mapping"}
    return next(name for accepted, name in names.items() if accepted in kind.accepts)


def _limits(metadata: list[Any]) -> tuple[tuple[str, float], ...]:
    found = (
        (short, next((getattr(item, short) for item in metadata if hasattr(item, short)), None)) for short, _ in LIMITS.values()
    )
    return tuple((short, value) for short, value in found if value is not None)
