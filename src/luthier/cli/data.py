"""luthier data: list, inspect, check, register and convert datasets.

What enters: arguments; those of a configuration are passed on to load_config. What leaves: tables, coloured tokens, JSON or
HTML on stdout. Nothing here reads a dataset itself.
"""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from luthier.errors import ConfigError

command = typer.Typer(no_args_is_help=True, add_completion=False, help="See, check, register and convert datasets.")
CONFIG_STYLE = {"allow_extra_args": True, "ignore_unknown_options": True}
Model = Annotated[str | None, typer.Option("--model", "--model_name_or_path", help="Show what this model would see.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DatasetDir = Annotated[str, typer.Option("--dataset_dir", help="The folder of dataset_info.json.")]


class Shown(StrEnum):
    """How inspect shows samples."""

    text = "text"
    jsonl = "jsonl"
    html = "html"


class To(StrEnum):
    """Formats that convert writes."""

    alpaca = "alpaca"
    sharegpt = "sharegpt"
    openai = "openai"
    text = "text"


def _config(context: typer.Context, model: str | None = None):
    from luthier.config import load_config

    return load_config([*context.args, *(["--model_name_or_path", model] if model else [])])


@command.command("list")
def list_(dataset_dir: DatasetDir = "data", as_json: Json = False) -> None:
    """The datasets that are registered, what they hold, and whether their files are there.

    Example: luthier data list --dataset_dir data
    """
    from luthier.cli.data_show import show_list
    from luthier.workflows.data import list_datasets

    listed = list_datasets(dataset_dir)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in listed], ensure_ascii=False, indent=2))
    else:
        show_list(listed)


@command.command(context_settings=CONFIG_STYLE)
def inspect(
    context: typer.Context,
    model: Model = None,
    sample: Annotated[int, typer.Option(min=1, help="The first sample to show, from 1.")] = 1,
    limit: Annotated[int, typer.Option(min=1, help="How many samples to show.")] = 1,
    shown: Annotated[Shown, typer.Option("--format", help="text, jsonl (with input_ids and labels) or html.")] = Shown.text,
    as_html: Annotated[bool, typer.Option("--html", help="The same as --format html.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Samples as they are read, and token by token as the model sees them; what is learned is marked.

    Takes a config file and keys as `luthier train` does, so it shows exactly what that training would see.

    Example: luthier data inspect --dataset identity --model starter --template qwen --limit 3
    """
    from luthier.cli.data_show import show_inspected
    from luthier.workflows import data

    show_inspected(data.inspect(_config(context, model), sample, limit), "html" if as_html else shown.value, output)


@command.command(context_settings=CONFIG_STYLE)
def check(context: typer.Context, model: Model = None, as_json: Json = False) -> None:
    """What is in a dataset and what is wrong with it: bad rows, lengths, truncation, repeated samples, empty answers ...

    Takes a config file and keys as `luthier train` does. With --eval_dataset also what both have in common.

    Example: luthier data check --dataset alpaca_zh_demo --model starter --template qwen --cutoff_len 1024
    """
    from luthier.cli.data_show import show_report
    from luthier.workflows.data_check import check as check_data

    report = check_data(_config(context, model))
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        show_report(report)


@command.command()
def register(
    path: Annotated[str, typer.Argument(help="A data file, a folder or glob of them, or a URL.")],
    name: Annotated[str | None, typer.Option(help="Its name from now on; the file's name if not given.")] = None,
    dataset_dir: DatasetDir = "data",
    formatting: Annotated[str | None, typer.Option(help="Do not guess: alpaca, sharegpt, openai or text.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Do not guess: prompt=question. May be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an entry of the same name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")] = False,
) -> None:
    """Look at a file, guess its format and columns, show three samples, and write its dataset_info.json entry.

    Example: luthier data register my.jsonl --name my_set
    """
    from luthier.cli.data_show import show_registered
    from luthier.workflows import data

    pairs = dict(_pair(word) for word in column or [])
    result = data.register(
        path,
        name=name,
        dataset_dir=dataset_dir,
        columns=pairs,
        formatting=formatting,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    show_registered(*result, dataset_dir=dataset_dir, written=not dry_run)


@command.command(context_settings=CONFIG_STYLE)
def convert(
    context: typer.Context,
    to: Annotated[To, typer.Option("--to", help="The format to write.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .jsonl, .json or .csv file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a dataset in another format, row by row; what the format cannot hold is an error, never a loss.

    Example: luthier data convert --dataset alpaca_zh_demo --to openai --output alpaca_zh.jsonl
    """
    from luthier.workflows import data

    count, entry = data.convert(_config(context), to.value, output, overwrite=overwrite)
    typer.echo(f"{output}: {count:,} rows in {to.value} format. To register it, put this in dataset_info.json:")
    typer.echo(json.dumps({output.stem: entry}, ensure_ascii=False, indent=2))


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f'--column "{word}" is not KEY=COLUMN.', "Write for example: --column prompt=question")
    return key, value
