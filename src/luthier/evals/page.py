"""The report pages of predict and compare: one HTML file each, with everything in it; it asks for nothing from the network.

Enters: figures and rows. Leaves: the text of a page. Every text of a dataset or a model is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from luthier.evals.labels import OTHER, LabelReport

MOST_ROWS = 300
"""Rows on a page; the files beside it hold all."""

DEEP = 0.75
"""From this share on, a cell of the confusion matrix is so dark that its number is written in white."""


def page(title: str, *parts: str) -> str:
    """A whole page."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    style = resources.files("luthier.evals").joinpath("page.css").read_text(encoding="utf-8")
    body = f"<main><h1>{escape(title)}</h1>{''.join(parts)}</main>"
    return f"<!doctype html><html><head>{head}<style>{style}</style></head><body>{body}</body></html>\n"


def figures_table(figures: Mapping[str, Any]) -> str:
    """Name and value, a tile each."""
    tiles = (f"<div><dt>{escape(name)}</dt><dd>{_number(value)}</dd></div>" for name, value in figures.items())
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """First column text, the others numbers or text as they are."""
    top = "".join(f'<th class="n">{escape(name)}</th>' if i else f"<th>{escape(name)}</th>" for i, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="n">{_number(x)}</td>' if i else f"<td>{_number(x)}</td>" for i, x in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def label_tables(report: LabelReport) -> str:
    """Scores of each label, and the confusion matrix with its rows shaded."""
    scores = [(row["label"], row["precision"], row["recall"], row["f1"], row["support"]) for row in report.rows()]
    is_other = any(row[-1] for row in report.matrix)
    columns = [*report.labels, OTHER] if is_other else report.labels
    top = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = ""
    for label, row in zip(report.labels, report.matrix):
        cells = "".join(_cell(count, count / max(1, sum(row))) for count in row[: len(columns)])
        body += f"<tr><th>{escape(label)}</th>{cells}</tr>"
    return (
        f"<h2>Labels</h2>{table(('label', 'precision', 'recall', 'F1', 'rows'), scores)}"
        f'<h2>Confusion matrix</h2><p class="note">Rows: references. Columns: answers.</p>'
        f'<div class="scroll"><table class="matrix"><tr><th></th>{top}</tr>{body}</table></div>'
    )


def _cell(count: int, share: float) -> str:
    """share: of its row."""
    deep = ' class="deep"' if share > DEEP else ""
    return f'<td{deep} style="--share:{100 * share:.0f}%">{count or ""}</td>'


def answers_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], total: int) -> str:
    """rows: {"index", "score", "prompt", "label", and an answer a column}, in the order to show."""
    shown = rows[:MOST_ROWS]
    note = f"The {len(shown)} worst of {total} rows." if len(shown) < total else f"All {total} rows, the worst first."
    top = "".join(f"<th>{escape(name)}</th>" for name in ("prompt", "label", *columns))
    body = "".join(_row(row, columns) for row in shown)
    return (
        f'<h2>Answers</h2><p class="note">{note}</p><label class="only"><input type="checkbox">only those with a fault</label>'
        f'<table class="rows">'
        f'<tr><th class="i">row</th><th class="s">score</th>{top}</tr>{body}</table>'
    )


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    cells = f'<td class="n">{row["index"] + 1}</td><td class="n">{_number(row["score"])}</td>'
    cells += "".join(f"<td><pre>{escape(row[name])}</pre></td>" for name in ("prompt", "label"))
    marks = ["right" if row[name].strip() == row["label"].strip() else "wrong" for name in columns]
    cells += "".join(f'<td class="{mark}"><pre>{escape(row[name])}</pre></td>' for name, mark in zip(columns, marks))
    return f"<tr>{cells}</tr>" if "wrong" in marks else f'<tr class="fine">{cells}</tr>'


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else escape(str(value))
