"""Where settings come from: a file, a command line, a dict, in layers.

Enters: argv | path | mapping.  Leaves: entries in order; later ones win.  Never checks a type.

    run.yaml  lora_rank=16  --learning_rate 1e-4  --bf16  --packing=True  lr_scheduler_kwargs.num_cycles=2
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from luthier.config.aliases import today_name
from luthier.config.files import SUFFIXES, Entry, read_file
from luthier.config.problems import Problem, shorten
from luthier.config.schema import Config
from luthier.config.values import FALSE_WORDS, TRUE_WORDS, Quoted, kind_of, plain_value

COMMAND_LINE = "command line"

Source = Mapping[str, Any] | Sequence[str] | str | PathLike[str]


def read_source(source: Source) -> tuple[list[Entry], list[Problem]]:
    """The settings of one source."""
    if isinstance(source, Mapping):
        entries = [Entry(str(key), Quoted(value) if isinstance(value, str) else value) for key, value in source.items()]
        return entries, []
    if isinstance(source, str | PathLike):
        return read_file(Path(fspath(source))), []
    return read_argv(source)


def read_argv(argv: Iterable[str]) -> tuple[list[Entry], list[Problem]]:
    """The settings of a command line: files, `key=value`, `--key value`, `--key=value`, `--flag`, `--no_flag`."""
    words = [str(word) for word in argv]
    entries: list[Entry] = []
    problems: list[Problem] = []
    while words:
        word = words.pop(0)
        if word.startswith("--") and len(word) > 2:
            entries.append(_read_flag(word, words))
        elif _is_assignment(word):
            key, _, value = word.partition("=")
            entries.append(Entry(key, value, COMMAND_LINE))
        elif word.lower().endswith(SUFFIXES):
            entries.extend(read_file(Path(word)))
        else:
            problems.append(
                Problem(
                    COMMAND_LINE,
                    f"{shorten(word, 40)} is no flag, no key=value and no .yaml/.json file. Quote values that hold spaces.",
                )
            )
    return entries, problems


def _is_assignment(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key.replace(".", "_").replace("-", "_").isidentifier()


def _read_flag(word: str, rest: list[str]) -> Entry:
    """One flag; takes its value(s) off rest."""
    name, equals, value = word[2:].partition("=")
    key = today_name(name.replace("-", "_"))
    if equals:
        return Entry(key, value, COMMAND_LINE)
    if key not in Config.model_fields:
        positive = key.removeprefix("no_")
        if positive != key and positive in Config.model_fields and kind_of(Config, positive).is_bool:
            return Entry(positive, False, COMMAND_LINE)
        return Entry(key, rest.pop(0) if rest and not rest[0].startswith("--") else "", COMMAND_LINE)
    kind = kind_of(Config, key)
    if kind.is_bool and not (rest and _is_switch_word(rest[0], kind.choices, kind.optional)):
        return Entry(key, True, COMMAND_LINE)
    if not rest or rest[0].startswith("--"):
        return Entry(key, MISSING, COMMAND_LINE)
    values = [rest.pop(0)]
    while kind.is_list and rest and not (rest[0].startswith("--") or _is_assignment(rest[0]) or rest[0].endswith(SUFFIXES[:2])):
        values.append(rest.pop(0))
    return Entry(key, values[0] if len(values) == 1 else values, COMMAND_LINE)


def _is_switch_word(word: str, choices: tuple[Any, ...], optional: bool) -> bool:
    lowered = word.lower()
    return lowered in TRUE_WORDS | FALSE_WORDS or lowered in choices or (optional and lowered in ("none", "null"))


class _Missing:
    """A flag that needs a value and got none."""

    def __repr__(self) -> str:
        return "no value"


MISSING = _Missing()


def merge(layers: Iterable[Entry]) -> tuple[dict[str, Entry], list[Problem]]:
    """Later entries win; `key.name=value` sets one name inside a mapping key."""
    merged: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in layers:
        key, dot, inner = entry.key.partition(".")
        if not dot:
            merged[key] = entry
            continue
        before = merged[key].value if key in merged else {}
        if key not in Config.model_fields or dict not in kind_of(Config, key).accepts or not isinstance(before, Mapping):
            problems.append(Problem(entry.where, f'"{entry.key}": "{key}" is not a key that holds names of its own.', key))
            continue
        merged[key] = Entry(key, {**before, inner: _typed(entry.value)}, entry.where)
    return merged, problems


def _typed(value: Any) -> Any:
    return plain_value(value) if isinstance(value, str) and not isinstance(value, Quoted) else value
