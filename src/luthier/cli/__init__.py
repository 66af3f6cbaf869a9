"""The command line: one file a verb, imported only when that verb is called, so that `luthier --help` is instant.

What enters: sys.argv. What leaves: an exit code: 0 done, 2 something that the user can mend (one message on stderr, no
traceback), 130 Ctrl-C, and a traceback for anything else, which is a bug of ours. Nothing here imports torch.

A verb is one line of VERBS, and luthier/cli/<verb>.py with a `command` that is either
- a function `command(argv: list[str]) -> int | None` for verbs that take a configuration (argv goes to
  luthier.config.load_config); its docstring is what --help prints; or
- a `typer.Typer` for verbs with sub-commands or arguments of their own.
main takes -q/--quiet and -v/--verbose away and sets the log level (luthier.runtime.logging.is_quiet() tells).
"""

import sys
from importlib import import_module
from typing import Any

from luthier.errors import ConfigError, LuthierError
from luthier.runtime.allocator import start_again

VERBS = {
    "quickstart": ("luthier.cli.quickstart:command", "fine-tune the bundled starter model and talk to it, in minutes"),
    "train": ("luthier.cli.train:command", "train a model from a config file or flags"),
    "predict": ("luthier.cli.predict:command", "answer a dataset and score the answers"),
    "eval": ("luthier.cli.eval:command", "the loss of a model on held-out data, or its marks on a benchmark"),
    "compare": ("luthier.cli.compare:command", "the answers or scores of models side by side"),
    "chat": ("luthier.cli.chat:command", "talk to a model in the terminal"),
    "serve": ("luthier.cli.serve:command", "an OpenAI-compatible API for a model"),
    "webui": ("luthier.cli.webui:command", "the web page"),
    "export": ("luthier.cli.export:command", "merge adapters and write a model that other tools load"),
    "plan": ("luthier.cli.plan:command", "memory and time that a config will need"),
    "advise": ("luthier.cli.advise:command", "a config for your model, data and machine"),
    "data": ("luthier.cli.data:command", "list, inspect and check datasets"),
    "documents": ("luthier.cli.documents:command", "make a dataset from your documents"),
    "runs": ("luthier.cli.runs:command", "list, show, follow, stop, resume and remove runs"),
    "config": ("luthier.cli.config:command", "what a key means; the JSON schema of a config"),
    "models": ("luthier.cli.models:command", "the models that are known by name"),
    "env": ("luthier.cli.env:command", "versions, devices and what works here"),
    "version": ("luthier.cli.version:command", "the version of Luthier"),
}
ALIASES = {"api": "serve", "--version": "version"}
TRAINING = {"quickstart", "train"}
LEVELS = {"-q": "WARNING", "--quiet": "WARNING", "-v": "DEBUG", "--verbose": "DEBUG"}

USAGE = """Luthier fine-tunes language models.

usage: luthier VERB [arguments]        luthier VERB --help explains one, with an example

{verbs}

-q, --quiet     only warnings and errors        -v, --verbose   more than usual
A first try:    luthier quickstart
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns the exit code; the installed `luthier` command passes it on to the shell."""
    if argv is None:
        argv = sys.argv[1:]
        if next((word for word in argv if word not in LEVELS), "") in TRAINING:
            start_again()
    try:
        return _run(list(argv))
    except LuthierError as error:
        kind = next(parent for parent in type(error).__mro__ if parent.__module__ == "luthier.errors")
        print(f"{kind.__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # luthier runs list | head
        sys.stderr.close()
        return 141


def find_command(name: str) -> Any:
    """The command of a verb. Raises ConfigError with the nearest name for one that does not exist."""
    name = ALIASES.get(name, name)
    if name not in VERBS:
        from luthier.registry import nearest

        close = nearest(name, list(VERBS))
        hint = f'Did you mean "{close[0]}"? ' if close else ""
        raise ConfigError(f'unknown command "{name}".', f"{hint}luthier --help lists them.")
    module, _, attribute = VERBS[name][0].partition(":")
    return getattr(import_module(module), attribute)


def _run(argv: list[str]) -> int:
    level = next((LEVELS[word] for word in argv if word in LEVELS), "INFO")
    argv = [word for word in argv if word not in LEVELS]
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {name:<12}{VERBS[name][1]}" for name in VERBS)))
        return 0
    command = find_command(argv[0])
    from luthier.runtime.crew import is_first
    from luthier.runtime.logging import setup_logging

    setup_logging(level if is_first() else "ERROR")
    if not hasattr(command, "registered_commands"):  # a plain function, not a typer.Typer
        if any(word in ("-h", "--help") for word in argv[1:]):
            print(_help_text(argv[0], command))
            return 0
        return command(argv[1:]) or 0
    try:
        command(args=argv[1:], prog_name=f"luthier {argv[0]}")
    except SystemExit as end:  # typer ends so, with 2 for wrong arguments
        return end.code if isinstance(end.code, int) else 0
    return 0


def _help_text(verb: str, command: Any) -> str:
    import inspect

    return inspect.getdoc(command) or f"luthier {verb}"
