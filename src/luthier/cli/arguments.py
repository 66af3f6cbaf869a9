"""Flags of a command that are not keys of the configuration, such as --json and --detach.

What enters: the words after the verb. What leaves: the words for luthier.config.load_config, and the flags that were found.
"""

from luthier.errors import ConfigError

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


def take_flags(argv: list[str], *flags: str) -> tuple[list[str], set[str]]:
    """(["a.yaml", "--json"], "--json") -> (["a.yaml"], {"--json"}).  --json true, --json=true and json=true mean the same."""
    rest: list[str] = []
    found: set[str] = set()
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        flag = name if name.startswith("--") or not equals else f"--{name}"
        if flag not in flags:
            rest.append(word)
            continue
        if not equals:
            value = words.pop(0) if words and words[0].lower() in TRUE + FALSE else "true"
        if value.lower() not in TRUE + FALSE:
            raise ConfigError(f'{flag} takes true or false, not "{value}".')
        if value.lower() in TRUE:
            found.add(flag)
    return rest, found


def take_value(argv: list[str], flag: str) -> tuple[list[str], str | None]:
    """(["a.yaml", "--gpu", "RTX 4090"], "--gpu") -> (["a.yaml"], "RTX 4090"); None where the flag is not there."""
    rest, value = list(argv), None
    for place, word in enumerate(argv):
        name, equals, after = word.partition("=")
        if name == flag:
            value = after if equals else next(iter(argv[place + 1 : place + 2]), None)
            if not value:
                raise ConfigError(f"{flag} needs a value.")
            rest = [*argv[:place], *argv[place + (1 if equals else 2) :]]
    return rest, value
