"""Everything that is wrong with a configuration, gathered and told at once.

Enters: problems, each with its place.  Leaves: one ConfigError that fits a screen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.errors import ConfigError

SHOWN = 15
"""More problems than this are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.  where: "run.yaml line 14", "command line" or "".  text: what is wrong and what to do."""

    where: str
    text: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class ConfigProblems(ConfigError):
    """All problems of one configuration. problems: each by itself, for a web form to show beside its field."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more")
        if len(lines) == 1:
            super().__init__(lines[0])
        else:
            super().__init__(f"{len(self.problems)} problems in the configuration:\n  " + "\n  ".join(lines))


def shorten(value: object, limit: int = 80) -> str:
    """value as the user may have written it, short enough for a message."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return f'"{text[:limit]}..."' if len(text) > limit else f'"{text}"' if isinstance(value, str) else text
