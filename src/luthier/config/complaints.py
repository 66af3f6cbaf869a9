"""What is wrong with one value, in words.

Enters: pydantic's error details and what the user wrote.  Leaves: problems.  Never shows the value of a secret key.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from luthier.config.files import Entry
from luthier.config.problems import Problem, shorten
from luthier.config.schema import Config
from luthier.config.values import Kind, kind_of
from luthier.registry import nearest

LIMITS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a mapping of names to values",
    str: "text",
}


def explain_errors(error: ValidationError, entries: Mapping[str, Entry]) -> list[Problem]:
    """One problem a key."""
    first: dict[Any, Any] = {}
    for details in error.errors(include_url=False, include_input=False):
        first.setdefault(details["loc"][0], details)
    return [_explain(key, details, entries[key]) for key, details in first.items()]


def explain_unknown(entry: Entry, known: Mapping[str, Any]) -> Problem:
    """An unknown key, with the nearest known one. The value is not shown: it may be a token beside a mistyped name."""
    close = nearest(entry.key, list(known))
    hint = f'Did you mean "{close[0]}"?' if close else "`luthier config schema` lists all keys."
    return Problem(entry.where, f"unknown key {shorten(entry.key, 60)}. {hint}", entry.key)


def _explain(key: str, details: Any, entry: Entry) -> Problem:
    kind = kind_of(Config, key)
    shown = "the value" if kind.is_secret else shorten(entry.value)
    return Problem(entry.where, f"{key}: {shown} {_complaint(details, kind, entry.value)}", key)


def _complaint(details: Any, kind: Kind, value: Any) -> str:
    if details["type"] in LIMITS:
        limit, words = LIMITS[details["type"]]
        return f"is out of range: it must be {words} {details['ctx'][limit]:g}."
    if kind.choices:
        choices = [str(choice) for choice in kind.choices]
        close = nearest(str(value), choices)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        return f"is not one of: {', '.join(choices)}.{hint}"
    return f"is not {_wanted(kind)}."


def _wanted(kind: Kind) -> str:
    if kind.is_list:
        return "a list of numbers" if kind.item is float else "a list of names"
    words = [name for accepted, name in TYPE_NAMES.items() if accepted in kind.accepts]
    if {int, float} <= kind.accepts:
        words.remove(TYPE_NAMES[int])
    return " or ".join(words) or "text"
