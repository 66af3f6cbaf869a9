"""How `luthier data` looks: tables and coloured tokens on the terminal, JSON lines, or an HTML page.

Enters: the records of workflows/data.py. Leaves: text on stdout or in a file. Decides nothing.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from luthier.runtime.files import size_text
from luthier.workflows.data import Inspected, Listed, Piece
from luthier.workflows.data_check import Report

BAR_WIDTH = 40
PIPE_WIDTH = 240
LEARNED, WEIGHTED, UNLEARNED = "bold green", "bold yellow", "dim"
PAGE = """<!doctype html><meta charset="utf-8"><title>luthier data inspect</title>
<style>body{{font:15px/1.7 ui-monospace,monospace;max-width:70em;margin:2em auto;padding:0 1em;color:#222;background:#fff}}
pre{{white-space:pre-wrap;word-break:break-word;border:1px solid #ccc;border-radius:6px;padding:.8em}}
span{{border-right:1px solid #ddd}}span.learned{{background:#c8f0cd}}span.weighted{{background:#ffe9a8}}h2{{font-size:1em}}
</style><p><span class="learned">learned</span> <span class="weighted">learned with another weight</span> 
<span>not learned</span> (point at a token to see its id)</p>
{body}
"""


def stdout() -> Console:
    """Wide where it is no terminal, so that a pipe gets whole lines."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def show_list(listed: Iterable[Listed]) -> None:
    table = Table("name", "holds", "format", "where", "size", box=None, header_style="bold")
    for line in listed:
        state = (
            Text(line.problem, style="red") if line.problem else size_text(line.num_bytes) if line.num_bytes is not None else ""
        )
        table.add_row(*map(escape, (line.name, line.holds, line.formatting, line.where)), state)
    stdout().print(table)


def show_inspected(inspected: Iterable[Inspected], how: str, output: Path | None) -> None:
    if how == "html":
        body = "\n".join(_html(one) for one in inspected)
        _write(PAGE.format(body=body), output)
    elif how == "jsonl":
        _write("".join(json.dumps(_record(one), ensure_ascii=False) + "\n" for one in inspected), output)
    elif output:
        with output.open("w", encoding="utf-8") as file:
            _show_texts(inspected, Console(file=file, highlight=False, width=PIPE_WIDTH))
    else:
        _show_texts(inspected, stdout())


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(f"{output}: written", err=True)


def _show_texts(inspected: Iterable[Inspected], console: Console) -> None:
    for one in inspected:
        console.rule(escape(f"sample {one.number}: {one.sample.origin}"), align="left")
        if one.segments is None:
            console.print_json(json.dumps(one.plain, ensure_ascii=False))
            console.print("Add --model to see its tokens and what is learned.", style="dim")
            continue
        if not one.segments:
            console.print("Nothing of it is left to learn: it is left out.", style="red")
        for segment, pieces in zip(one.segments, one.pieces):
            learned = sum(len(piece.ids) for piece in pieces if piece.weight)
            mark = "green" if console.is_terminal else "in [brackets]"
            console.print(f"{segment.num_tokens} tokens, {learned} learned ({mark})", style="bold", markup=False)
            console.print(_coloured(pieces, brackets=not console.is_terminal), soft_wrap=True)
            for weight, stretch in groupby(pieces, key=lambda piece: piece.weight):
                ids = [str(token) for piece in stretch for token in piece.ids]
                words = f"{len(ids)} ids, {f'learned, weight {weight:g}' if weight else 'not learned'}:"
                console.print(f"{words} {' '.join(ids)}", style="dim", soft_wrap=True)
        if one.cut_tokens:
            console.print(f"{one.cut_tokens} tokens were cut by cutoff_len.", style="red")


def _coloured(pieces: Iterable[Piece], *, brackets: bool) -> Text:
    """Every other token is underlined. brackets: around what is learned, where there is no colour."""
    text = Text()
    for weight, stretch in groupby(pieces, key=lambda piece: piece.weight):
        style = UNLEARNED if not weight else LEARNED if weight == 1 else WEIGHTED
        text.append("[" if brackets and weight else "")
        for number, piece in enumerate(stretch):
            text.append(piece.text, style=f"{style} underline" if number % 2 else style)
        text.append("]" if brackets and weight else "")
    return text


def _record(one: Inspected) -> dict[str, Any]:
    origin = one.sample.origin
    record: dict[str, Any] = {"sample": one.number, "file": origin.file, "row": origin.row, **one.plain}
    if one.segments is None:
        return record
    segments = [
        {
            "input_ids": segment.input_ids.tolist(),
            "labels": segment.labels.tolist(),
            **({} if segment.weights is None else {"weights": segment.weights.tolist()}),
            "text": "".join(piece.text for piece in pieces),
            "learned": "".join(piece.text for piece in pieces if piece.weight),
        }
        for segment, pieces in zip(one.segments, one.pieces)
    ]
    record["cut_tokens"] = one.cut_tokens
    return record | (segments[0] if len(segments) == 1 else {"segments": segments})


def _html(one: Inspected) -> str:
    title = html.escape(f"sample {one.number}: {one.sample.origin}")
    if one.segments is None:
        return f"<h2>{title}</h2><pre>{html.escape(json.dumps(one.plain, ensure_ascii=False, indent=2))}</pre>"
    blocks = ("".join(map(_span, pieces)) for pieces in one.pieces)
    cut = f"<p>{one.cut_tokens} tokens were cut by cutoff_len.</p>" if one.cut_tokens else ""
    return f"<h2>{title}</h2>" + "".join(f"<pre>{block}</pre>" for block in blocks) + cut


def _span(piece: Piece) -> str:
    kind = "learned" if piece.weight == 1 else "weighted" if piece.weight else ""
    title = " ".join(map(str, piece.ids)) + (f", weight {piece.weight:g}" if kind == "weighted" else "")
    return f'<span class="{kind}" title="{title}">{html.escape(piece.text)}</span>'


def show_report(report: Report) -> None:
    console = stdout()
    texts = report.texts
    counts = texts["counts"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column()
    rows = {
        "datasets": ", ".join(report.datasets),
        "rows": f"{report.rows:,} read, {report.samples:,} samples",
        "roles": _listing(texts["roles"]),
        "messages": "{fewest} to {most}, middle {middle:g}".format(**texts["turns"]) if texts["turns"] else "",
        "scripts": _listing(texts["scripts"]),
        "answers": _answers(counts),
        f"{report.unit}": _listing(report.lengths),
        "learned": "" if report.learned_share is None else f"{report.learned_share:.1%} of all tokens",
        "template": _listing(report.template or {}),
    }
    for name, value in rows.items():
        if value:
            facts.add_row(name, escape(value))
    console.print(facts)
    _show_histogram(console, report)
    if report.truncation:
        table = Table("cutoff_len", "samples cut", "", "tokens lost", "", box=None, header_style="bold")
        for row in report.truncation:
            shares = (f"{row['samples_share']:.1%}", f"{row['tokens_share']:.1%}")
            table.add_row(f"{row['cutoff_len']:,}", f"{row['samples']:,}", shares[0], f"{row['tokens']:,}", shares[1])
        console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", style="dim", markup=False)
    for severity, sentence in report.findings:
        console.print(
            ("! " if severity == "bad" else "- ") + sentence,
            style="red" if severity == "bad" else "yellow",
            markup=False,
            soft_wrap=True,
        )
    if not report.findings:
        console.print("Nothing wrong was found.", style="green")


def _listing(values: Mapping[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{name} {f'{value:,}' if type(value) in (int, float) else value}" for name, value in given.items())


def _answers(counts: Mapping[str, int]) -> str:
    if not counts.get("answers"):
        return ""
    parts = [f"{counts['answers']:,}"]
    for key, words in (
        ("thinking", "with thinking"),
        ("empty_thinking", "with empty thinking"),
        ("calls", "tool calls"),
        ("own_weight", "with a weight of their own"),
    ):
        parts += [f"{counts[key]:,} {words}"] if counts.get(key) else []
    return ", ".join(parts)


def _show_histogram(console: Console, report: Report) -> None:
    most = max((count for _, count in report.histogram), default=0)
    for bound, count in report.histogram:
        bar = "█" * round(BAR_WIDTH * count / most)
        console.print(f"{f'up to {bound:,}':>16} {bar} {count:,}", markup=False)


def show_registered(name: str, entry: Mapping[str, Any], shown: Iterable[Any], *, dataset_dir: str, written: bool) -> None:
    console = stdout()
    for number, sample in enumerate(shown, start=1):
        console.rule(f"sample {number}", align="left")
        console.print_json(json.dumps(sample, ensure_ascii=False))
    console.rule(align="left")
    typer.echo(json.dumps({name: entry}, ensure_ascii=False, indent=2))
    place = f"{dataset_dir}/dataset_info.json"
    typer.echo(
        f"written to {place}; use it with --dataset {name}" if written else f"nothing was written to {place} (--dry-run)"
    )
