"""The YAML tables that lie in this package, read once.

Enters: the name of a table ("later", "aliases", "docs/model").  Leaves: a plain dict.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def read_table(name: str) -> dict[str, Any]:
    """The mapping in luthier/config/<name>.yaml."""
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=LOADER)
