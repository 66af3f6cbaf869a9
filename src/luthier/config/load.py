"""load_config: any source of settings in, one checked Config out, or one ConfigError that tells everything at once.

Enters: argv | path | mapping, and overrides.  Leaves: Config.  Never imports anything heavy, never looks at the machine.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from luthier.config.problems import ConfigProblems, Problem, shorten
from luthier.config.schema import Config
from luthier.config.sources import MISSING, Entry, Source, merge, read_source
from luthier.config.values import kind_of
from luthier.registry import nearest


def load_config(source: Source, overrides: Source = ()) -> Config:
    """The configuration of source with overrides on top.

    source, overrides: a command line (list of words, files among them), the path of a YAML or JSON file, or a mapping.
    Raises ConfigError that lists every problem with its place: unknown keys, wrong types, values out of range.
    """
    problems: list[Problem] = []
    layers: list[Entry] = []
    for part in (source, overrides):
        entries, found = read_source(part)
        layers += entries
        problems += found
    merged, found = merge(layers)
    problems += found
    known: dict[str, Entry] = {}
    for key, entry in merged.items():
        if key not in Config.model_fields:
            problems.append(_unknown(entry))
        elif entry.value is MISSING:
            problems.append(Problem(entry.where, f"--{key} needs a value.", key))
        else:
            known[key] = entry
    config, found = _validate(known)
    problems += found
    if problems:
        raise ConfigProblems(problems)
    assert config is not None
    return config


def _unknown(entry: Entry) -> Problem:
    name = shorten(entry.key, 60)
    close = nearest(entry.key, list(Config.model_fields))
    hint = f'Did you mean "{close[0]}"?' if close else "`luthier config schema` lists all keys."
    return Problem(entry.where, f"unknown key {name}. {hint}", entry.key)


def _validate(entries: Mapping[str, Entry]) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate({key: entry.value for key, entry in entries.items()}), []
    except ValidationError as error:
        return None, [_explain(details, entries) for details in _first_of_each_key(error)]


def _first_of_each_key(error: ValidationError) -> list[Any]:
    first: dict[Any, Any] = {}
    for details in error.errors(include_url=False):
        first.setdefault(details["loc"][0], details)
    return list(first.values())


def _explain(details: Any, entries: Mapping[str, Entry]) -> Problem:
    key = details["loc"][0]
    kind = kind_of(Config, key)
    shown = "the value" if kind.is_secret else shorten(entries[key].value)
    return Problem(entries[key].where, f"{key}: {shown} {_complaint(details, kind, entries[key].value)}", key)


def _complaint(details: Any, kind: Any, value: Any) -> str:
    context = details.get("ctx", {})
    limits = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    if details["type"] in limits:
        words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
        limit = limits[details["type"]]
        return f"is out of range: it must be {words[limit]} {context[limit]}."
    if kind.choices:
        words = [str(choice) for choice in kind.choices]
        close = nearest(str(value), words)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        return f"is not one of: {', '.join(words)}.{hint}"
    return f"is not {_wanted(kind)}."


def _wanted(kind: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping of names to values"}
    if kind.is_list:
        return f"a list of {'numbers' if kind.item is float else 'names'}"
    return " or ".join(names[accepted] for accepted in (bool, int, float, dict, str) if accepted in kind.accepts) or "text"
