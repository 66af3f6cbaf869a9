"""Configuration files, read with the line of every key.

Enters: a .yaml, .yml or .json file.  Leaves: entries (key, value, place).  Never guesses a type: a YAML scalar stays the text
that was written (`save_strategy: no` is the word no, `run_name: 007` keeps its zeros) until the key's type is known.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from luthier.config.problems import ConfigProblems, Problem, shorten
from luthier.config.values import Quoted, plain_value
from luthier.errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 4 << 20
MAX_NODES = 100_000
"""A file that unfolds (YAML aliases) to more values than this is refused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting. where: "run.yaml line 14", "command line" or "" (a dict)."""

    key: str
    value: Any
    where: str = ""


def read_file(path: Path) -> list[Entry]:
    """The entries of a configuration file in their order. ConfigError if it cannot be read as one mapping of keys."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: too large for a configuration file (over {MAX_BYTES >> 20} MiB).")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file.", _beside(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}).", "Save the file as UTF-8.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return _read_json(path, text) if path.suffix.lower() == ".json" else _read_yaml(path, text)


def _beside(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    found = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)[:5]
    return f"In that folder: {', '.join(found)}" if found else None


def _read_yaml(path: Path, text: str) -> list[Entry]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: not valid YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}."
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: {_what(root)}, where lines of `key: value` are expected.", "Write for example:  stage: sft")
    reader, entries, problems, seen = _NodeReader(path), [], [], {}
    for key_node, value_node in root.value:
        where = f"{path.name} line {key_node.start_mark.line + 1}"
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None:
            problems.append(Problem(where, "a key must be a single word."))
        elif key in seen:
            problems.append(Problem(where, f'"{shorten_key(key)}" is set twice (first in line {seen[key]}). Keep one.', key))
        else:
            seen[key] = key_node.start_mark.line + 1
            entries.append(Entry(key, reader.read(value_node), where))
    if problems:
        raise ConfigProblems(problems)
    return entries


def shorten_key(key: str) -> str:
    """A key as it is shown in messages."""
    return shorten(key, 60)[1:-1]


def _what(root: yaml.Node | None) -> str:
    if root is None:
        return "empty"
    return "a list" if isinstance(root, yaml.SequenceNode) else f"a single value ({shorten(str(root.value), 40)})"


class _NodeReader:
    """YAML nodes to values: the key's own scalar stays text; scalars inside lists stay text; inside mappings they are typed."""

    def __init__(self, path: Path):
        self.path = path
        self.count = 0

    def read(self, node: yaml.Node, *, typed: bool = False, depth: int = 0) -> Any:
        self.count += 1
        if depth > 50 or self.count > MAX_NODES:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.path.name} line {line}: nested too deeply or an alias that holds itself.")
        if isinstance(node, yaml.MappingNode):
            return {str(key.value): self.read(value, typed=True, depth=depth + 1) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, typed=typed, depth=depth + 1) for item in node.value]
        if node.style in ("'", '"', "|", ">"):
            return node.value if typed else Quoted(node.value)
        if node.value in ("", "~", "null", "Null", "NULL"):
            return None
        return plain_value(node.value) if typed else node.value


def _read_json(path: Path, text: str) -> list[Entry]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = next((key for key, _ in items if sum(key == other for other, _ in items) > 1), None)
        if twice is not None:
            raise ConfigError(f'{path}: "{shorten_key(twice)}" is set twice. Keep one.')
        return dict(items)

    try:
        root = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} line {error.lineno} column {error.colno}: not valid JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}.") from None
    if not isinstance(root, dict):
        raise ConfigError(f'{path}: holds a {type(root).__name__}, where an object {{"key": value, ...}} is expected.')
    return [Entry(key, _quoted(value), _json_place(path, text, key)) for key, value in root.items()]


def _quoted(value: Any) -> Any:
    """JSON has its own null: the string "none" is the word."""
    return Quoted(value) if isinstance(value, str) else value


def _json_place(path: Path, text: str, key: str) -> str:
    match = re.search(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)
    return f"{path.name} line {text.count(chr(10), 0, match.start()) + 1}" if match else path.name
