"""Values as people write them, turned into what a key's type asks for.

Enters: a native value (YAML list, JSON number, Python object) or text from a YAML scalar, a flag or `key=value`.
Leaves: the value that pydantic then checks; text that makes no sense is handed on unchanged, so that the message can show it.

    learning_rate  "5e-05" -> 5e-05          (YAML 1.1 reads 5e-5 as text)
    packing        "True" / "yes" / "1" -> True
    lora_target    "q_proj, v_proj" -> ["q_proj", "v_proj"]
    lr_scheduler_kwargs  '{"num_cycles": 2}' -> {"num_cycles": 2}
    max_samples    "1e5" -> 100000;  "none", "null", "~", "" -> None where None is allowed
"""

import json
import types
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

TRUE_WORDS = frozenset({"true", "yes", "y", "on", "t", "1"})
FALSE_WORDS = frozenset({"false", "no", "n", "off", "f", "0"})
NONE_WORDS = frozenset({"none", "null", "~", ""})


class Quoted(str):
    """Text that was quoted in the source: "none" in quotes is the word, not the absence of a value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key takes. accepts: the plain types of its annotation. item: type of list items. choices: of a Literal."""

    accepts: frozenset[type]
    choices: tuple[Any, ...] = ()
    item: type | None = None
    optional: bool = False

    @property
    def is_bool(self) -> bool:
        return bool in self.accepts

    @property
    def is_list(self) -> bool:
        return self.item is not None

    @property
    def is_secret(self) -> bool:
        return SecretStr in self.accepts


@cache
def kind_of(model: type[BaseModel], key: str) -> Kind:
    """The kind of one key of a group class."""
    return _kind(model.model_fields[key].annotation)


def _kind(annotation: Any) -> Kind:
    accepts: set[type] = set()
    choices: tuple[Any, ...] = ()
    item: type | None = None
    optional = False
    for part in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,):
        if get_origin(part) is Annotated:
            part = get_args(part)[0]
        if part is type(None):
            optional = True
        elif get_origin(part) is Literal:
            choices += get_args(part)
        elif get_origin(part) is list:
            item = get_args(part)[0]
            if get_origin(item) is Literal:
                choices, item = get_args(item), str
        else:
            accepts.add(get_origin(part) or part)
    return Kind(frozenset(accepts), choices, item, optional)


def read_value(kind: Kind, value: Any) -> Any:
    """value in the shape that kind asks for; unchanged where it does not fit."""
    if isinstance(value, str):
        return _read_text(kind, value)
    if isinstance(value, PurePath):
        return [str(value)] if kind.is_list else str(value)
    if isinstance(value, bool):
        return _read_bool(kind, value)
    if kind.is_list:
        items = list(value) if isinstance(value, list | tuple) else [value] if isinstance(value, int | float) else None
        return value if items is None else _read_items(kind, items)
    if isinstance(value, int | float) and not kind.accepts & {int, float, bool}:
        return _choice(kind, str(value)) if kind.choices else str(value) if str in kind.accepts else value
    if isinstance(value, float) and value.is_integer() and int in kind.accepts and float not in kind.accepts:
        return int(value)
    return value


def _read_text(kind: Kind, text: str) -> Any:
    stripped = text.strip()
    word = stripped.lower()
    free_text = str in kind.accepts or kind.is_secret
    if word in NONE_WORDS and kind.optional and not (free_text and (isinstance(text, Quoted) or not word)):
        return None
    if kind.is_list:
        return _read_list(kind, stripped)
    if kind.is_bool and word in TRUE_WORDS | FALSE_WORDS and not (kind.accepts & {int, float} and word in "01"):
        return word in TRUE_WORDS
    if kind.choices and (choice := _choice(kind, word)) in kind.choices:
        return choice
    if stripped.startswith(("{", "[")) and dict in kind.accepts:
        return _parse_json(text)
    number = _read_number(kind, stripped)
    return text if number is None else number


def _read_number(kind: Kind, text: str) -> int | float | None:
    if not kind.accepts & {int, float}:
        return None
    try:
        number = float(text.replace("_", "")) if text.isascii() else None
    except ValueError:
        return None
    if number is None or (float in kind.accepts and int not in kind.accepts):
        return number
    if text.lstrip("+-").isdigit():
        return int(text) if len(text) < 40 else None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _read_list(kind: Kind, text: str) -> Any:
    items: Any = _parse_json(text) if text.startswith("[") and text.endswith("]") else text.split(",")
    if isinstance(items, str):  # [a, b] without quotes
        items = items[1:-1].split(",")
    return _read_items(kind, [item.strip() if isinstance(item, str) else item for item in items])


def _read_items(kind: Kind, items: list[Any]) -> Any:
    """Empty items are left out; nothing at all, or the one word none, is None where that is allowed, else an empty list."""
    assert kind.item is not None
    one = Kind(frozenset({kind.item}))
    if len(items) == 1 and isinstance(items[0], str) and items[0].lower() == "none":
        items = []
    kept = [read_value(one, item) for item in items if not (isinstance(item, str) and item == "")]
    return kept or (None if kind.optional else [])


def _read_bool(kind: Kind, value: bool) -> Any:
    """A native bool for a key that takes none: words (`gradient_checkpointing: true` -> "on"), or text as it was written."""
    if kind.is_bool:
        return value
    word = next((word for word in (("on", "yes") if value else ("off", "no")) if word in kind.choices), None)
    # Python takes True for the number 1; as a word it is refused where a number is wanted
    return word or str(value).lower()


def _choice(kind: Kind, word: str) -> Any:
    spelled = {str(choice).lower(): choice for choice in kind.choices}
    if word not in spelled and word in TRUE_WORDS | FALSE_WORDS:
        return _read_bool(kind, word in TRUE_WORDS)
    return spelled.get(word, word)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def plain_value(text: str) -> Any:
    """An unquoted scalar inside a free-form mapping, by YAML 1.2's rules: null, true, false, integers, floats (5e-5 too)."""
    word = text.strip().lower()
    if word in ("true", "false"):
        return word == "true"
    if word in NONE_WORDS - {"none"}:
        return None
    number = _read_number(Kind(frozenset({int, float})), text.strip()) if any(char.isdigit() for char in word) else None
    return text if number is None else number
