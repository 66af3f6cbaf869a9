"""Plain values as a YAML file that load_config reads back to the same Config.

Enters: the dict of Config.to_dict.  Leaves: text.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from luthier.config.values import NONE_WORDS, plain_value


class _Dumper(yaml.SafeDumper):
    """Quotes the words that would be read as something else: "none", "5e-5", "true"."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    misread = text.strip().lower() in NONE_WORDS or plain_value(text) != text or text != text.strip()
    misread = misread or not text.isprintable()  # line breaks, some of which YAML folds to a space
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if misread else None)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """One line a key, in the given order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
