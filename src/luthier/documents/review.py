"""A person's look at rows: the queue sorted by doubt, decisions, and edits that are kept and become preference pairs.

Enters: an open project. Leaves: rows with the source that proves them; decisions and edits in the store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from luthier.documents.project import Project
from luthier.documents.steps.rows import ORDER, ROWS
from luthier.errors import DataError

DECISIONS = ("accepted", "rejected", "open")
FIELDS = ("question", "answer")


def queue(
    project: Project, *, flag: str | None = None, decision: str | None = "open", limit: int = 50, offset: int = 0
) -> list[Any]:
    """Rows to look at: flagged ones first, then those with low verdicts, then the others. decision: None for any."""
    more, values = _among(flag, decision)
    order = """ ORDER BY (SELECT count(*) FROM flag WHERE flag.answer=answer.id) DESC,
                coalesce((SELECT min(score) FROM verdict WHERE verdict.answer=answer.id), 10), document.name, chunk.start,
                question.ordinal"""
    return project.store.all(f"{ROWS}{more}{order} LIMIT ? OFFSET ?", *values, limit, offset)


def counts(project: Project, flag: str | None = None) -> dict[str, int]:
    """Decision -> current rows."""
    more, values = _among(flag, None)
    found = project.store.all(f"SELECT coalesce(decision, 'open'), count(*) FROM ({ROWS}{more}) GROUP BY 1", *values)
    return dict.fromkeys(DECISIONS, 0) | {row[0]: row[1] for row in found}


def flags(project: Project) -> dict[str, int]:
    """Flag -> current rows that have it, the most frequent first."""
    sql = f"SELECT code, count(*) FROM flag WHERE answer IN (SELECT id FROM ({ROWS})) GROUP BY code ORDER BY 2 DESC, 1"
    return {row[0]: row[1] for row in project.store.all(sql)}


def _among(flag: str | None, decision: str | None) -> tuple[str, list[str]]:
    """Conditions and values for a flag and a decision."""
    more, values = "", []
    if decision:
        more += " AND coalesce(answer.decision, 'open')=?"
        values.append(decision)
    if flag:
        more += " AND EXISTS (SELECT 1 FROM flag WHERE flag.answer=answer.id AND flag.code=?)"
        values.append(flag)
    return more, values


def details(project: Project, row: Any) -> dict[str, Any]:
    """A row with its source: the chunk, and where in it each quote stands. For the page and the terminal."""
    store, text = project.store, project.text(row["text_sha"])
    quotes = [
        dict(quote)
        for quote in store.all("SELECT quote, start, end, match FROM evidence WHERE answer=? ORDER BY ordinal", row["id"])
    ]
    page = store.value("SELECT page FROM page WHERE doc=? AND start<=? ORDER BY start DESC LIMIT 1", row["doc"], row["start"])
    return {
        "id": row["id"],
        "question": row["question"],
        "answer": row["answer"],
        "thinking": row["thinking"],
        "turns": json.loads(row["turns"]) if row["turns"] else None,
        "document": row["document"],
        "section": json.loads(row["path"]),
        "page": page,
        "source_start": row["start"],
        "source": text[row["start"] : row["end"]],
        "quotes": quotes,
        "flags": [dict(flag) for flag in store.all("SELECT code, detail, blocks FROM flag WHERE answer=?", row["id"])],
        "verdicts": [
            dict(verdict) for verdict in store.all("SELECT axis, score, reason FROM verdict WHERE answer=?", row["id"])
        ],
        "decision": row["decision"] or "open",
        "duplicate_of": row["dup_of"],
    }


def decide(project: Project, ids: Sequence[str], decision: str) -> int:
    """Accept, reject or reopen rows by the beginning of their ids. Returns their number. Raises DataError for an unknown
    one."""
    if decision not in DECISIONS:
        raise DataError(f'"{decision}" is no decision.', f"Known: {', '.join(DECISIONS)}")
    found = [find_row(project, id)["id"] for id in ids]
    with project.store.writing() as db:
        kept = None if decision == "open" else decision
        db.executemany("UPDATE answer SET decision=? WHERE id=?", [(kept, id) for id in found])
    return len(found)


def edit(project: Project, id: str, field: str, text: str) -> None:
    """Change a question or an answer. What it was is kept; an answer's old words become the rejected side of a preference pair.

    The row counts as accepted.
    """
    if field not in FIELDS:
        raise DataError(f'"{field}" cannot be edited.', f"Known: {', '.join(FIELDS)}")
    row, text, store = find_row(project, id), text.strip(), project.store
    if not text:
        raise DataError(f"the new {field} is empty.", "Reject the row instead.")
    if text == row[field]:
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with store.writing():
        store.write(
            "INSERT INTO edit (answer, field, before, after, at) VALUES (?,?,?,?,?)", row["id"], field, row[field], text, at
        )
        if field == "answer":
            store.write("UPDATE answer SET text=?, decision='accepted' WHERE id=?", text, row["id"])
            if row["turns"]:
                turns = json.loads(row["turns"])
                same = [number for number, turn in enumerate(turns) if turn["content"] == row["answer"]]
                last = same[-1] if same else len(turns) - 1
                turns[last]["content"] = text
                store.write("UPDATE answer SET turns=? WHERE id=?", json.dumps(turns, ensure_ascii=False), row["id"])
            else:
                store.put("rejected", answer=row["id"], text=row["answer"], origin="edit")
        else:
            store.write("UPDATE question SET text=? WHERE id=?", text, row["question_id"])
            store.write("UPDATE answer SET decision='accepted' WHERE id=?", row["id"])


def find_row(project: Project, id: str) -> Any:
    """The current row whose id begins so. Raises DataError for none or several."""
    rows = project.store.all(f"{ROWS} AND answer.id LIKE ?{ORDER}", f"{id}%")
    if len(rows) != 1:
        what = "no row" if not rows else f"{len(rows)} rows"
        raise DataError(f'{what} begin with "{id}".', "luthier documents review NAME shows their ids.")
    return rows[0]
