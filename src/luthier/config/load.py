"""load_config: any source of settings in, one checked Config out, or one ConfigError that tells everything at once.

Enters: argv | path | mapping, and overrides.  Leaves: Config.  Never imports anything heavy, never looks at the machine.
"""

import logging
from collections.abc import Iterable

from pydantic import ValidationError

from luthier.config.aliases import rename
from luthier.config.checks import find_conflicts
from luthier.config.complaints import explain_errors, explain_unknown
from luthier.config.files import Entry
from luthier.config.later import find_later
from luthier.config.problems import ConfigProblems, Problem
from luthier.config.schema import Config
from luthier.config.sharding import find_sharding
from luthier.config.sources import MISSING, Source, merge, read_source

logger = logging.getLogger(__name__)


def load_config(source: Source, overrides: Source = ()) -> Config:
    """The configuration of source with overrides on top.

    source, overrides: a command line (list of words, files among them), the path of a YAML or JSON file, or a mapping.
    Raises ConfigError that lists every problem with its place: unknown keys, wrong types, values out of range, features that
    are not built, keys that contradict one another. What is legal but does nothing is said once, as a warning.
    """
    problems: list[Problem] = []
    layers: list[Entry] = []
    for part in (source, overrides):
        entries, found = read_source(part)
        layers += entries
        problems += found
    merged, found = merge(layers)
    problems += found
    renamed, found = rename(merged)
    problems += found
    known, found = _split_known(renamed.values())
    problems += found
    try:
        config = Config.model_validate({key: entry.value for key, entry in known.items()})
    except ValidationError as error:
        problems += explain_errors(error, known)
        wrong = {problem.key for problem in problems}
        # what is right by itself is still checked for the rest, so that one message tells all
        config = Config.model_validate({key: entry.value for key, entry in known.items() if key not in wrong})
    problems += find_later(config, known)
    problems += find_sharding(config, known)
    conflicts, warnings = find_conflicts(config, known, skip={problem.key for problem in problems})
    problems += conflicts
    if problems:
        raise ConfigProblems(problems)
    for warning in warnings:
        logger.warning("%s", warning)
    return config


def _split_known(entries: Iterable[Entry]) -> tuple[dict[str, Entry], list[Problem]]:
    known: dict[str, Entry] = {}
    problems: list[Problem] = []
    for entry in entries:
        if entry.key not in Config.model_fields:
            problems.append(explain_unknown(entry, Config.model_fields))
        elif entry.value is MISSING:
            problems.append(Problem(entry.where, f"--{entry.key} needs a value.", entry.key))
        else:
            known[entry.key] = entry
    return known, problems
