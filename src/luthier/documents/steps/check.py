"""Step 6: filters over every current row; and step 8: the same row twice. Both only mark, so a change of the recipe undoes
them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from luthier.documents.dedup import groups, near_pairs, normal, same_questions
from luthier.documents.filters import Row, blocks, flags_of
from luthier.documents.leaks import LONG_ANSWER
from luthier.documents.project import Project
from luthier.documents.steps.rows import current_rows


def check_rows(project: Project) -> Counter[str]:
    """Write the flags of all current rows. Returns how many rows have each code."""
    store, recipe = project.store, project.recipe.filter
    found: Counter[str] = Counter()
    flags = []
    for row in current_rows(project):
        quotes = store.all("SELECT match FROM evidence WHERE answer=?", row["id"])
        judged = Row(
            question=row["question"],
            answer=row["answer"],
            source=source_of(project, row),
            language=row["language"],
            thinking=row["thinking"] or "",
            origin=row["origin"],
            finish_reason=row["finish_reason"] or "",
            quotes=len(quotes),
            quotes_found=sum(quote["match"] != "none" for quote in quotes),
            answerable=row["type"] != "unanswerable" and project.recipe.ask.kind != "topic",
        )
        for code, detail in flags_of(judged, recipe.off):
            flags.append((row["id"], code, detail, int(blocks(code, recipe.warn))))
            found[code] += 1
    with store.writing() as db:
        db.execute("DELETE FROM flag WHERE code<>'not_supported' AND code<>'not_useful'")
        db.executemany("INSERT OR REPLACE INTO flag (answer, code, detail, blocks) VALUES (?,?,?,?)", flags)
    return found


def source_of(project: Project, row: Any) -> str:
    """What the answer may lean on: title, headings, prefix and the chunk itself."""
    text = project.text(row["text_sha"])
    prefix = text[row["prefix_start"] : row["prefix_end"]] if row["prefix_start"] is not None else ""
    return "\n".join([row["title"] or "", *json.loads(row["path"]), prefix, text[row["start"] : row["end"]]])


def dedup_rows(project: Project) -> tuple[int, int]:
    """Mark repeated rows with the one that is kept. Returns (exact, near). Nothing is deleted.

    Kept is the row that a person accepted, else the one with better verdicts, else the one with the shorter question.
    """
    store = project.store
    rows = [dict(row) for row in current_rows(project, " AND coalesce(answer.decision,'')<>'rejected'")]
    scores = dict(store.all("SELECT answer, sum(score) FROM verdict GROUP BY answer"))
    blocked = {row[0] for row in store.all("SELECT DISTINCT answer FROM flag WHERE blocks=1")}
    questions = [row["question"] for row in rows]
    both = [f"{row['question']}\n{row['answer']}" for row in rows]
    pairs = [*near_pairs(both, project.recipe.dedup.near), *same_questions(questions), *_same_answers(rows)]
    pairs = [pair for pair in pairs if _particular(rows, pair)]
    exact = near = 0
    marks: list[tuple[str | None, str | None, str]] = []
    for group in groups(len(rows), pairs):
        best = min(group, key=lambda at: _rank(rows[at], scores, blocked, at))
        for at in group:
            if at == best:
                continue
            same = normal(both[at]) == normal(both[best])
            exact, near = exact + same, near + (not same)
            marks.append((rows[best]["id"], "exact" if same else "near", rows[at]["id"]))
    with store.writing() as db:
        db.execute("UPDATE answer SET dup_of=NULL, dup_kind=NULL WHERE dup_of IS NOT NULL")
        db.executemany("UPDATE answer SET dup_of=?, dup_kind=? WHERE id=?", marks)
    return exact, near


def _same_answers(rows: list[dict]) -> Iterator[tuple[int, int, float]]:
    """Rows of different splits that give the same long answer: one of them has to go, or the export would be refused."""
    said: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if len(words := normal(row["answer"])) >= LONG_ANSWER:
            said.setdefault(words, []).append(at)
    for same in said.values():
        if len({rows[at]["split"] for at in same}) > 1:
            yield from ((same[0], right, 1.0) for right in same[1:])


def _particular(rows: list[dict], pair: tuple[int, int, float]) -> bool:
    """Two rows of one table or list look alike but say different things: within a document and a split, extracted rows are
    the same only where their answers are."""
    left, right = rows[pair[0]], rows[pair[1]]
    near_by = left["doc"] == right["doc"] and left["split"] == right["split"]
    if left["origin"] == right["origin"] == "extract" and near_by:
        return normal(left["answer"]) == normal(right["answer"])
    return True


def _rank(row: dict, scores: dict[str, float], blocked: set[str], at: int) -> tuple:
    accepted = row["decision"] == "accepted"
    return (not accepted, row["id"] in blocked, -scores.get(row["id"], 0.0), len(row["question"]), at)
