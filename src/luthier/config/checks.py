"""Keys that do not go together are found, all at once.

Enters: a Config whose single values are right.  Leaves: problems (the run could not do what was asked) and warnings (legal,
but a key does nothing).  What goes with what is said in rules/.
"""

from collections.abc import Mapping

from luthier.config.files import Entry
from luthier.config.problems import Problem
from luthier.config.rules import RULES
from luthier.config.schema import Config


def find_conflicts(config: Config, entries: Mapping[str, Entry], skip: set[str]) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings. skip: keys already complained about; rules that blame one of them are left out."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for rule in RULES:
        if skip.isdisjoint(rule.keys) and rule.broken(config):
            blamed = next((key for key in rule.keys if key in entries), rule.keys[0])
            where = entries[blamed].where if blamed in entries else ""
            (warnings if rule.warns else problems).append(Problem(where, rule.reason, blamed))
    return problems, warnings
