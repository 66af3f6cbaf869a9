"""The settings of one page as they are typed, before they are a Config.

Enters: a key and what was typed.  Leaves: only what differs from "not set", as a mapping, and what is wrong with it, key by
key. Never touches a file: the dict that is handed in is kept by the caller (in the browser's storage).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from luthier.config import Config, load_config
from luthier.config.checks import find_conflicts
from luthier.config.problems import ConfigProblems
from luthier.errors import LuthierError

Listener = Callable[[set[str]], None]


class Form:
    """values: key -> what the user set.  base: settings of the model bar that every page shares; the page's own win."""

    def __init__(self, values: MutableMapping[str, Any], base: Form | None = None):
        self.values = values
        self.base = base
        self._listeners: list[Listener] = []

    def get(self, key: str) -> Any:
        """What the user set, None where nothing is."""
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Nothing typed (None, "", []) takes the key out."""
        self.update({key: value})

    def update(self, values: Mapping[str, Any]) -> None:
        """Several at once; listeners are told once."""
        changed = set()
        for key, value in values.items():
            if value is None or value == "" or value == []:
                if key in self.values:
                    del self.values[key]
                    changed.add(key)
            elif key not in self.values or self.values[key] != value or type(self.values[key]) is not type(value):
                self.values[key] = value
                changed.add(key)
        if changed:
            self._tell(changed)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Forget everything and take these instead."""
        gone = dict.fromkeys(self.values)
        self.update({**gone, **values})

    def on_change(self, listener: Listener) -> None:
        """listener(changed keys), for the life of the page."""
        self._listeners.append(listener)
        if self.base is not None:
            self.base.on_change(listener)

    def settings(self) -> dict[str, Any]:
        """Everything that is set, the shared settings first."""
        shared = self.base.settings() if self.base else {}
        return {**shared, **{key: _plain(value) for key, value in self.values.items()}}

    def _tell(self, changed: set[str]) -> None:
        for listener in list(self._listeners):
            listener(changed)


def check(settings: Mapping[str, Any]) -> tuple[Config | None, dict[str, str]]:
    """The Config, or None and the complaint of each key ("" for one that blames no key)."""
    try:
        return load_config(dict(settings)), {}
    except ConfigProblems as error:
        found: dict[str, str] = {}
        for problem in error.problems:
            found.setdefault(problem.key, problem.text)
        return None, found
    except LuthierError as error:
        return None, {"": error.message}


def warnings_of(config: Config) -> list[str]:
    """What is legal but does nothing."""
    return [str(warning) for warning in find_conflicts(config, {}, set())[1]]


def _plain(value: Any) -> Any:
    """Storage hands out observable lists and dicts; YAML and JSON want plain ones."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {str(key): _plain(item) for key, item in value.items()} if isinstance(value, dict) else value
