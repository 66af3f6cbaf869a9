"""`luthier version`: one line, for people and scripts."""

import json

from luthier import __version__
from luthier.cli.arguments import take_flags


def command(argv: list[str]) -> None:
    """luthier version [--json]

    Prints the version of Luthier. `luthier env` shows the versions of everything it stands on.

    Example:
      luthier version
    """
    _, flags = take_flags(argv, "--json")
    print(json.dumps({"luthier": __version__}) if "--json" in flags else f"luthier {__version__}")
