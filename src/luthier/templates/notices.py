"""One line for people about something a template does that they may not expect; each is said once per template."""

from __future__ import annotations

import logging

log = logging.getLogger("luthier.templates")


class Notices:
    """name: the template they speak of."""

    def __init__(self, name: str):
        self._name = name
        self._said: set[str] = set()

    def warn(self, about: str, text: str) -> None:
        """about: what makes two notices the same."""
        if about not in self._said:
            self._said.add(about)
            log.warning("template %s: %s", self._name, text)
