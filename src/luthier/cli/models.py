"""`luthier models`: the models that are known by name, and those that lie on this machine.

What enters: a part of a name, a kind. What leaves: a table or JSON on stdout. It never uses the network.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from luthier.errors import ConfigError
from luthier.hub import STARTER, Entry, catalog, find_entry
from luthier.hub.cached import cached_names
from luthier.hub.catalog import KINDS

command = typer.Typer(add_completion=False)


@command.command()
def models(
    text: Annotated[str, typer.Argument(help="Only names and families that hold this text.")] = "",
    kind: Annotated[str | None, typer.Option(help="Only one kind: chat, reasoning or base.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that are known by name, and those on this machine. Any other hub id or folder works too.

    Example: luthier models qwen3 --kind base
    """
    if kind not in (None, *KINDS):
        raise ConfigError(f'there is no kind "{kind}".', f"Kinds are: {', '.join(KINDS)}")
    here = set(cached_names())
    shown = [entry for entry in _all(here) if kind in (None, entry.kind) and _holds(entry, text)]
    if as_json:
        print(json.dumps([asdict(entry) | {"downloaded": entry.huggingface in here} for entry in shown], ensure_ascii=False))
        return
    if not shown:
        print(f'No known model holds "{text}" in its name. Any id of Hugging Face or ModelScope, or a folder, works as well.')
        return
    for entry in shown:
        marks = [entry.kind, *(["licence to accept"] if entry.gated else []), *(["trust_remote_code"] if entry.code else [])]
        marks += ["downloaded"] if entry.huggingface in here or entry.huggingface == STARTER else []
        print(f"{entry.huggingface:<46}{', '.join(mark for mark in marks if mark)}")


def _all(here: set[str]) -> list[Entry]:
    starter = Entry(family="Luthier", kind="chat", huggingface=STARTER, modelscope=STARTER)
    others = [Entry(family="", kind="", huggingface=name, modelscope=name) for name in sorted(here) if not find_entry(name)]
    return [starter, *catalog(), *others]


def _holds(entry: Entry, text: str) -> bool:
    return text.lower() in f"{entry.huggingface} {entry.modelscope} {entry.family}".lower()
