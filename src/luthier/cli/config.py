"""luthier config: what a key means, and the JSON schema of a configuration file.

What enters: arguments. What leaves: text on stdout. Nothing here reads a configuration or a model.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from luthier.errors import ConfigError

command = typer.Typer(no_args_is_help=True, add_completion=False, help="What a key means; the JSON schema of a config.")


class Lang(StrEnum):
    """The language of an answer."""

    en = "en"
    zh = "zh"


@command.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    lang: Annotated[Lang, typer.Option(help="Language of the descriptions.")] = Lang.en,
) -> None:
    """The JSON schema of a configuration file, for editors.

    Example: luthier config schema --output luthier.schema.json
    """
    from luthier.config.json_schema import make_schema

    text = json.dumps(make_schema(lang), ensure_ascii=False, indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
    typer.echo(f"{output}: written. In a YAML file, point to it by a first line\n  # yaml-language-server: $schema={output}")


@command.command()
def explain(
    key: Annotated[str, typer.Argument(help="A key, such as lora_rank.")],
    lang: Annotated[Lang, typer.Option(help="Language of the answer.")] = Lang.en,
) -> None:
    """Meaning, default and values of one key, and when to change it.

    Example: luthier config explain learning_rate
    """
    from luthier.config.explain import explain_key

    typer.echo(explain_key(key, lang))


@command.command("list")
def list_(
    group: Annotated[str | None, typer.Argument(help="One group, such as data or optimizer.")] = None,
    lang: Annotated[Lang, typer.Option(help="Language of the answer.")] = Lang.en,
) -> None:
    """Every key with its default and one line of meaning.

    Example: luthier config list tuning
    """
    from luthier.config.explain import list_keys

    typer.echo(list_keys(group, lang))
