"""The report pages of predict and compare: one HTML file each, with everything in it; it asks for nothing from the network.

Enters: figures and rows. Leaves: the text of a page. Every text of a dataset or a model is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from luthier.evals.labels import OTHER, LabelReport

MOST_ROWS = 300
"""Rows on a page; the files beside it hold all."""

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;max-width:100%}
th,td{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
th{background:var(--soft)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:inherit}.scroll{overflow-x:auto}
table.rows{width:100%;table-layout:fixed}table.rows th.i{width:4rem}table.rows th.s{width:6rem}
td.right{box-shadow:inset 3px 0 #2a8}td.wrong{box-shadow:inset 3px 0 #c43}.note{opacity:.75}
"""


def page(title: str, *parts: str) -> str:
    """A whole page."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = f"<h1>{escape(title)}</h1>{''.join(parts)}"
    return f"<!doctype html><html><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n"


def figures_table(figures: Mapping[str, Any]) -> str:
    """Name and value."""
    rows = "".join(f'<tr><td>{escape(name)}</td><td class="n">{_number(value)}</td></tr>' for name, value in figures.items())
    return f"<table>{rows}</table>"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """First column text, the others numbers or text as they are."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="n">{_number(x)}</td>' if i else f"<td>{_number(x)}</td>" for i, x in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def label_tables(report: LabelReport) -> str:
    """Scores of each label, and the confusion matrix with its rows shaded."""
    scores = [
        (f"{number}. {row['label']}", row["precision"], row["recall"], row["f1"], row["support"])
        for number, row in enumerate(report.rows(), start=1)
    ]
    top = "".join(f"<th>{escape(name)}</th>" for name in [*report.labels, OTHER])
    body = ""
    for label, row in zip(report.labels, report.matrix):
        cells = "".join(
            f'<td class="n" style="background:rgba(40,110,200,{0.75 * count / max(1, sum(row)):.2f})">{count or ""}</td>'
            for count in row
        )
        body += f"<tr><th>{escape(label)}</th>{cells}</tr>"
    return (
        f"<h2>Labels</h2>{table(('label', 'precision', 'recall', 'F1', 'rows'), scores)}"
        f'<h2>Confusion matrix</h2><p class="note">Rows: references. Columns: answers.</p>'
        f'<div class="scroll"><table><tr><th></th>{top}</tr>{body}</table></div>'
    )


def answers_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], total: int) -> str:
    """rows: {"index", "score", "prompt", "label", and an answer a column}, in the order to show."""
    shown = rows[:MOST_ROWS]
    note = f"The {len(shown)} worst of {total} rows." if len(shown) < total else f"All {total} rows, the worst first."
    top = "".join(f"<th>{escape(name)}</th>" for name in ("prompt", "label", *columns))
    body = "".join(_row(row, columns) for row in shown)
    return (
        f'<h2>Answers</h2><p class="note">{note}</p><table class="rows">'
        f'<tr><th class="i">row</th><th class="s">score</th>{top}</tr>{body}</table>'
    )


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    cells = f'<td class="n">{row["index"] + 1}</td><td class="n">{_number(row["score"])}</td>'
    cells += "".join(f"<td><pre>{escape(row[name])}</pre></td>" for name in ("prompt", "label"))
    for name in columns:
        mark = "right" if row[name].strip() == row["label"].strip() else "wrong"
        cells += f'<td class="{mark}"><pre>{escape(row[name])}</pre></td>'
    return f"<tr>{cells}</tr>"


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else escape(str(value))
